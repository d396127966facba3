"""The ledger, FLOPs and energy: golden values, arithmetic by hand, and torch's own counter as an oracle."""

import dataclasses
import random

import pytest
import torch
from makers import products_only, uniform
from torch.utils.flop_counter import FlopCounterMode

from autost_optuna import Architecture, Space, SpikingTransformer, Task
from autost_optuna.network.chain import chain, operations, populations
from autost_optuna.network.layers import Product
from autost_optuna.network.neurons.module import NeuronModule
from autost_optuna.network.rows import REAL, Operation
from autost_optuna.proxies.convention import CONVENTIONS
from autost_optuna.proxies.energy import estimate_energy
from autost_optuna.proxies.flops import count_flops, count_macs, count_params
from autost_optuna.proxies.proof import check_ledger

CIFAR10 = Task.preset("cifar10")


def test_golden_counts_of_the_384_4_network():
    # Parameters counted on AutoST's model; MACs those of Spikingformer-4-384 on CIFAR-10, whose sums are the same.
    assert count_params(uniform(384, 4, 4), CIFAR10) == 9_324_761
    assert count_macs(uniform(384, 4, 4), CIFAR10) == 3_736_145_664
    assert count_macs(uniform(384, 2, 4), CIFAR10) == pytest.approx(2.805010e9, abs=500)
    assert count_flops(uniform(384, 4, 4), CIFAR10) == 2 * 3_736_145_664


def test_autosts_own_figure_follows_from_the_ledger():
    # AutoST leaves out attention products and adds normalisation and neurons: its 3.703 and 5.361 G lie just above.
    for architecture, published in ((uniform(384, 4, 4), 3.703e9), (uniform(512, 3, 3), 5.361e9)):
        rows = operations(architecture, CIFAR10)
        sums = sum(row.total_macs for row in rows if row.weighted)
        assert 0 < published - sums < 0.01 * published


def test_a_counted_network_of_11_865_million_parameters():
    assert count_params(uniform(512, 3, 3), Task.preset("cifar100")) == pytest.approx(11.865e6, abs=500)


def test_heads_change_neither_parameters_nor_flops():
    few, many = uniform(256, 3, 4, num_heads=4), uniform(256, 3, 4, num_heads=8)
    assert count_params(few, CIFAR10) == count_params(many, CIFAR10)
    assert operations(few, CIFAR10) == operations(many, CIFAR10)


def sample(count):
    """Architectures of all three spaces, in turn on four tasks."""
    generator = random.Random(0)
    tasks = [CIFAR10, *(Task.preset(name) for name in ("digits", "imagenet", "nmnist"))]
    for index in range(count):
        space = Space.load(("tiny", "small", "base")[index % 3])
        depth = generator.choice(space.depth)
        yield (
            Architecture(
                embed_dim=generator.choice(space.embed_dim),
                depth=depth,
                num_heads=tuple(generator.choices(space.num_heads, k=depth)),
                mlp_ratio=tuple(generator.choices(space.mlp_ratio, k=depth)),
            ),
            tasks[index // 3 % 4],
        )


def counted(architecture, task):
    """The network on the meta device, and what torch counts in each of its modules, by name; "" is the whole."""
    with torch.device("meta"):
        network, images = SpikingTransformer(architecture, task, seed=None), torch.empty(1, *task.input_shape)
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter, products_only():
        network(images)
    found = {name: sum(kinds.values()) for name, kinds in counter.get_flop_counts().items()}
    assert found.pop("Global") == found["SpikingTransformer"] == counter.get_total_flops()
    return network, {name.removeprefix("SpikingTransformer").removeprefix("."): n for name, n in found.items()}


@pytest.mark.parametrize(("architecture", "task"), [*sample(12)], ids=lambda value: getattr(value, "name", None))
@pytest.mark.slow
def test_ledger_equals_torchs_counter_module_by_module(architecture, task):
    network, flops = counted(architecture, task)
    ledger = operations(architecture, task)
    check_ledger(network, ledger)
    for row in ledger:
        assert flops[row.name] == 2 * row.total_macs, row
    assert flops[""] == count_flops(architecture, task)
    assert sum(p.numel() for p in network.parameters()) == count_params(architecture, task)


def proven(part, at):
    """FLOPs and parameters of a part, after its rows were compared with its module, run by itself on the meta device."""
    rows = list(part.rows(at))
    listed = [row for row in rows if isinstance(row, Operation)]
    shape = (1, at.width, at.side, at.side) if at.still else (at.steps, 1, at.tokens, at.width)
    if at.block is None and not at.still and part.name == "stem":
        shape = (1, at.steps, at.width, at.side, at.side)
    with torch.device("meta"):
        whole = torch.nn.Module()
        above = whole
        for name in at.path.split(".")[:-1]:
            above.add_module(name, torch.nn.Module())
            above = above.get_submodule(name)
        above.add_module(at.path.split(".")[-1], part.module(at))
        module, stream = whole.get_submodule(at.path), torch.empty(shape)
    check_ledger(whole, listed)
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter, products_only():
        module(stream)
    found = {name.partition(".")[2]: sum(kinds.values()) for name, kinds in counter.get_flop_counts().items()}
    for row in listed:
        own = row.name.removeprefix(at.path).removeprefix(".")
        assert found[own] == 2 * row.total_macs, row
    assert {row.name: row.params for row in rows} == held(whole)
    return counter.get_total_flops(), sum(parameter.numel() for parameter in whole.parameters())


@pytest.mark.slow
def test_ledgers_of_207_architectures_are_sums_of_parts_that_torch_counts():
    """Counting whole networks takes ten times as long: the same parts come again and again. Each eighth is built whole."""
    known = {}
    for number, (architecture, task) in enumerate(sample(207)):
        flops = params = 0
        for at, part, _ in chain(architecture, task):
            place = at if at.block is None else at.entering(0, part.name)  # blocks differ in their names only
            if (part, place) not in known:
                known[part, place] = proven(part, place)
            for row, same in zip(part.rows(at), part.rows(place), strict=True):
                renamed = {
                    name: getattr(row, name) for name in ("name", "stage", "block", "driven_by") if hasattr(row, name)
                }
                assert dataclasses.replace(same, **renamed) == row
            flops, params = flops + known[part, place][0], params + known[part, place][1]
        assert flops == count_flops(architecture, task)
        assert params == count_params(architecture, task) == closed_form(architecture, task)
        if number % 8 == 0:
            with torch.device("meta"):
                network = SpikingTransformer(architecture, task, seed=None)
            ledger = operations(architecture, task)
            check_ledger(network, ledger)
            assert {row.name: row.params for row in (*ledger, *populations(architecture, task))} == held(network)


def held(network):
    """The parameters of each operation and each layer of neurons; normalisation belongs to the operation before it."""
    found, last = {}, None
    for name, module in network.named_modules():
        own = sum(p.numel() for p in module.parameters(recurse=False))
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            found[last] += own
        elif isinstance(module, torch.nn.Linear | torch.nn.Conv2d | Product | NeuronModule):
            last = name
            found[last] = own
        else:
            assert own == 0
    return found


def closed_form(architecture, task):
    """The parameters by a formula of their own: stem, blocks, head."""
    dim, classes = architecture.embed_dim, task.num_classes
    stem = 9 * (task.channels * dim // 8 + dim**2 // 32 + dim**2 // 8 + dim**2 // 2 + dim**2)
    stem += 2 * (dim // 8 + dim // 4 + dim // 2 + 2 * dim) + 3
    blocks = sum(
        4 * (dim**2 + dim) + 8 * dim + 2 * hidden * dim + hidden + dim + 2 * hidden + 2 * dim + 7
        for hidden in architecture.hidden_dims
    )
    return stem + blocks + dim * classes + classes


def test_rows_know_what_they_are():
    architecture, task = uniform(32, 2, 2), Task.preset("digits")
    ledger, layers = operations(architecture, task), populations(architecture, task)
    assert {row.group: [r.role for r in ledger if r.group == row.group and not r.block] for row in ledger} == {
        "convolutions": ["stem.conv1", "stem.conv2", "stem.conv3", "stem.conv4"],
        "position convolution": ["stem.position"],
        "q, k, v": ["attention.q", "attention.k", "attention.v"],
        "attention products": ["attention.qk", "attention.av"],
        "projection": ["attention.proj"],
        "MLP": ["mlp.fc1", "mlp.fc2"],
        "head": ["head"],
    }
    assert {row.group for row in layers} == {"neuron states"}
    for row in (*ledger, *layers):
        assert row.stage == ("head" if row.role == "head" else "stem" if row.block is None else f"blocks.{row.block}")
        assert row.name == (row.role if row.block is None else f"{row.stage}.{row.role}")
    assert dict.fromkeys(row.block for row in ledger) == {None: None, 0: None, 1: None}
    assert ledger[-3] == Operation(
        name="blocks.1.mlp.fc1",
        stage="blocks.1",
        block=1,
        role="mlp.fc1",
        group="MLP",
        macs=task.num_tokens * 32 * 64,
        steps=4,
        driven_by="blocks.1.mlp.neuron",
        params=32 * 64 + 64 + 2 * 64,
    )


@pytest.mark.parametrize("convention", ["horowitz-45nm-fp32", "memory"])
def test_what_a_charge_is_comes_from_its_row_whatever_the_row_is_called(convention):
    architecture, task = uniform(32, 2, 2), Task.preset("digits")
    tables = operations(architecture, task), populations(architecture, task)
    renamed = [
        [dataclasses.replace(row, name=f"layer {number}") for number, row in enumerate(table)] for table in tables
    ]
    bills = []
    for ledger, layers in (tables, renamed):
        rates = {row.name: 0.1 for row in ledger if row.driven_by != REAL}
        bills.append(estimate_energy(ledger, rates, CONVENTIONS[convention], layers))
    meaning = [
        [(one.stage, one.stage_title, one.block, one.role, one.group, one.energy_pj) for one in bill] for bill in bills
    ]
    assert meaning[0] == meaning[1]
    assert list(dict.fromkeys(one.stage_title for one in bills[1])) == ["stem", "block 0", "block 1", "head"]


def test_integer_frames_make_the_first_convolution_macs_at_every_step():
    first, second, *_ = operations(uniform(192, 1, 3), Task.preset("nmnist"))
    assert (first.name, first.driven_by, first.steps) == ("stem.conv1", REAL, 10)
    assert first.macs == 9 * 2 * 24 * 34 * 34
    assert second.driven_by == "stem.neuron1"


@pytest.mark.parametrize("spare", ["model", "ledger"])
def test_a_layer_without_a_row_and_a_row_without_a_layer_are_errors(toy_task, spare):
    architecture = uniform(32, 1, 2)
    network = SpikingTransformer(architecture, toy_task)
    ledger = operations(architecture, toy_task)
    check_ledger(network, ledger)
    if spare == "model":
        network.blocks[0].mlp.extra = torch.nn.Linear(4, 4)
    else:
        ledger.append(dataclasses.replace(ledger[-1], name="blocks.0.mlp.extra"))
    with pytest.raises(RuntimeError, match=r"blocks\.0\.mlp\.extra is in the " + spare):
        check_ledger(network, ledger)


def test_every_driver_is_a_neuron_of_the_model(toy_task):
    architecture = uniform(32, 2, 2)
    names = {name for name, module in SpikingTransformer(architecture, toy_task).named_modules()}
    for row in operations(architecture, toy_task):
        assert row.driven_by == REAL or (row.driven_by in names and "neuron" in row.driven_by)
