"""The ledger, FLOPs and energy: golden values, arithmetic by hand, and torch's own counter as an oracle."""

import random

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from autost_optuna import Architecture, Space, SpikingTransformer, Task
from autost_optuna.network.operations import REAL, Operation, operations
from autost_optuna.proxies.flops import count_flops, count_macs, count_params
from autost_optuna.proxies.proof import check_ledger

CIFAR10 = Task.preset("cifar10")


def uniform(embed_dim, depth, mlp_ratio, num_heads=8):
    return Architecture.uniform(embed_dim=embed_dim, depth=depth, num_heads=num_heads, mlp_ratio=mlp_ratio)


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
        sums = sum(row.total_macs for row in rows if not row.name.endswith((".qk", ".av")))
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


def test_ledger_equals_torchs_counter_module_by_module_on_207_architectures():
    for architecture, task in sample(207):
        with torch.no_grad(), torch.device("meta"):
            network = SpikingTransformer(architecture, task, seed=None)
            counter = FlopCounterMode(display=False)
            with counter:
                network(torch.empty(1, *task.input_shape))
        ledger = operations(architecture, task)
        check_ledger(network, ledger)
        counted = {name: sum(kinds.values()) for name, kinds in counter.get_flop_counts().items()}
        for row in ledger:
            assert counted[f"SpikingTransformer.{row.name}"] == 2 * row.total_macs, (architecture.key, task.name, row)
        assert counter.get_total_flops() == count_flops(architecture, task)
        assert sum(p.numel() for p in network.parameters()) == count_params(architecture, task)


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
        ledger.append(Operation(name="blocks.0.mlp.extra", macs=1, steps=1, driven_by=REAL))
    with pytest.raises(RuntimeError, match=r"blocks\.0\.mlp\.extra is in the " + spare):
        check_ledger(network, ledger)


def test_every_driver_is_a_neuron_of_the_model(toy_task):
    architecture = uniform(32, 2, 2)
    names = {name for name, module in SpikingTransformer(architecture, toy_task).named_modules()}
    for row in operations(architecture, toy_task):
        assert row.driven_by == REAL or (row.driven_by in names and "neuron" in row.driven_by)
