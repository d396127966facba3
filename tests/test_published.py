"""Figures that others have printed, met again: layer by layer, and under each convention that a paper may have used."""

import importlib.util
import json
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import MappingProxyType

import pytest
import torch
from makers import natural_noise
from spikingjelly.activation_based.layer import SeqToANNContainer
from spikingjelly.activation_based.layer.attention import SpikingSelfAttention
from spikingjelly.activation_based.model.spikformer import spikformer_cifar10
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry
from torch.utils.module_tracker import ModuleTracker

from autost_optuna import Architecture, Task, evaluate
from autost_optuna.network.chain import operations
from autost_optuna.network.rows import REAL, Operation
from autost_optuna.proxies.energy import estimate_energy, total_mj
from autost_optuna.proxies.flops import count_macs, count_params
from autost_optuna.proxies.proof import check_ledger
from autost_optuna.proxies.reuse import InitialRates
from autost_optuna.search.baselines import NETWORKS, in_autost_form

STUDY = Path(__file__).parent.parent / "studies" / "true_spikingformer"

# Spikingformer-8-512 on ImageNet, T 4: the log of the published weights (Zhou et al. 2023, arXiv 2304.11954).
# Input rates in % and accumulates, as printed: 9 digits.
SPIKINGFORMER_STEM = """
    conv2     25.8312565  955595335
    conv3     15.3364436  567352732
    conv4     13.1065373  484860113
    position  12.9557331  239640650
"""
# One block a line: rates of q, k and v (one input), of proj, fc1, fc2; then the accumulates of the same.
SPIKINGFORMER_BLOCKS = """
    17.6595751  29.7803004  26.76769    3.28870974   36294116.9  61324280.8  220482576  27049144.1
    33.7953024  30.9584658  33.0194005  2.9645371    69456408.2  63750386.2  271977241  24382872.7
    34.2222987  31.4189673  34.7303054  2.55983278   70333974.9  64698661.3  286069781  21054240.4
    34.4263662  29.0892771  34.6611222  1.92913754   70753376.3  59901309.6  285499925  15866866.7
    34.3272679  20.9885448  36.0386227  1.42090094   70549708.5  43220095.1  296846249  11686697.0
    35.9286898  16.5693003  35.9497969  0.952562647  73840965.2  34119885.0  296114600  7834684.81
    34.2288006  10.6833842  32.2695614  0.568941609  70347337.8  21999471.0  265800898  4679459.35
    31.7671993  9.47712146  29.923303   1.37684836   65288232.6  19515506.9  246475020  11324371.2
"""
# Firing rates of the neurons after q, k and v, one block a line.
SPIKINGFORMER_QKV = """
    0.172301886301  0.036263447703  0.069577079780
    0.116274750605  0.040295450145  0.071732077248
    0.106693079221  0.044414592388  0.075246235776
    0.081886447995  0.050001990489  0.076877805705
    0.063652732769  0.043254670402  0.070541879656
    0.077112392199  0.031131386014  0.073215827398
    0.070237568865  0.024202287514  0.073486224341
    0.097276982167  0.028122423471  0.079547129319
"""
# Dense operations over T, as printed.
SPIKINGFORMER_DENSE = {
    "conv1": 346816512, "conv2": 3699376130, "conv3": 3699376130, "conv4": 3699376130, "position": 1849688060,
    "q": 205520896, "k": 205520896, "v": 205520896, "proj": 205922304, "fc1": 823689216, "fc2": 822484992, "head": 513000,
}  # fmt: skip


def row_of(name, macs, steps, driven_by):
    """A row of another network than AutoST's, for its energy alone."""
    return Operation(name=name, stage="", role=name, group="", macs=macs, steps=steps, driven_by=driven_by)


def table(text):
    return [[float(cell) for cell in line.split()] for line in text.strip().splitlines()]


def test_spikingformer_8_512_layer_by_layer():
    architecture = Architecture.uniform(embed_dim=512, depth=8, num_heads=8, mlp_ratio=4)
    task = Task.preset("imagenet")
    rates, accumulates = {}, {}
    for line in SPIKINGFORMER_STEM.strip().splitlines():
        name, rate, printed = line.split()
        rates[f"stem.{name}"], accumulates[f"stem.{name}"] = float(rate) / 100, float(printed)
    for index, cells in enumerate(table(SPIKINGFORMER_BLOCKS)):
        layers = ("attention.q", "attention.proj", "mlp.fc1", "mlp.fc2", "attention.k", "attention.v")
        for layer, rate, printed in zip(layers, cells[:4] + cells[:1] * 2, cells[4:] + cells[4:5] * 2, strict=True):
            rates[f"blocks.{index}.{layer}"] = rate / 100
            accumulates[f"blocks.{index}.{layer}"] = printed

    # The sums are this project's own; the printed counts add a bias, where there is one, as one more operation an output.
    rows = []
    for row in operations(architecture, task):
        if not row.weighted:
            continue
        leaf = row.name.rpartition(".")[2]
        outputs = {"proj": 512, "fc1": 2048, "fc2": 512}.get(leaf, 0) * task.num_tokens
        macs = row.macs + (task.num_classes if leaf == "head" else outputs)
        assert macs * row.steps == pytest.approx(SPIKINGFORMER_DENSE[leaf], rel=3e-9), row.name
        # Unlike AutoST's, Spikingformer's position convolution reads spikes.
        rows.append(replace(row, macs=macs, driven_by=row.name if row.name in rates else REAL))
    assert len(rows) == 54

    # Attention as q(k^T v), N h d^2 operations a product: the first is paid for by the rarer of k and v, the second by q.
    for index, (q, k, v) in enumerate(table(SPIKINGFORMER_QKV)):
        for product, rate in (("kv", min(k, v)), ("q", q)):
            name = f"blocks.{index}.attention.{product}"
            rates[f"{name}.product"] = rate
            macs = task.num_tokens * 8 * 64**2
            rows.append(row_of(f"{name}.product", macs, 4, name))

    charges = estimate_energy(rows, rates)
    spent = {charge.name: charge.rate * (charge.macs * charge.steps) for charge in charges if charge.kind == "ac"}
    assert {name: spent[name] for name in accumulates} == pytest.approx(accumulates, rel=1e-8)
    assert [c.name for c in charges if c.kind == "mac"] == ["stem.conv1", "head"]
    assert sum(charge.macs * charge.steps for charge in charges if charge.kind == "mac") == 347_329_512
    assert sum(spent.values()) == pytest.approx(6_517_540_940.76244, abs=1)
    assert total_mj(charges) == pytest.approx(7.463502602, abs=5e-10)


class Observer(TorchDispatchMode):
    """Every weighted sum and product of signals of whatever runs inside: its MACs, and what drives it.

    Seen is what torch's own FLOP counter has a formula for; where the signals of such an operation are not known, KeyError.
    """

    SIGNALS = MappingProxyType(
        {
            torch.ops.aten.convolution: slice(0, 1),
            torch.ops.aten.mm: slice(0, 1),
            torch.ops.aten.addmm: slice(1, 2),
            torch.ops.aten.bmm: slice(0, 2),
        }
    )
    KINDS = ("spikes", "integers", "real")

    def __init__(self):
        super().__init__()
        self.modules = ModuleTracker()
        self.seen = {}  # name: (MACs, kind of its input, mean of its input)

    def __enter__(self):
        self.modules.__enter__()
        return super().__enter__()

    def __exit__(self, *error):
        super().__exit__(*error)
        self.modules.__exit__(*error)

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        operation = function.overloadpacket
        if operation in flop_registry:
            path = max(self.modules.parents, key=len).partition(".")[2]
            name = next(name for i in count() if (name := f"{path}:{i}") not in self.seen)
            macs = flop_registry[operation](*args, **(kwargs or {}), out_val=out) // 2
            # Of the two signals of a product the cheaper drives it: spikes before integers, the rarer of two trains.
            signals = [self.describe(signal) for signal in args[self.SIGNALS[operation]]]
            kind, mean = min(signals, key=lambda signal: (self.KINDS.index(signal[0]), signal[1]))
            self.seen[name] = (macs, kind, mean)
        return out

    @staticmethod
    def describe(signal):
        if ((signal == 0) | (signal == 1)).all():
            kind = "spikes"
        elif ((signal >= 0) & (signal == signal.round())).all():
            kind = "integers"
        else:
            kind = "real"
        return kind, signal.mean(dtype=torch.float64).item()


def query_first(qkv, scale):
    """(q k^T) v, with channels before tokens as SpikingJelly has them; its own kernel computes q (k^T v)."""
    q, k, v = qkv.flatten(2, 3).chunk(3, dim=2)
    return v @ (k.transpose(-2, -1) @ q) * scale


def as_published(net):
    """SpikingJelly 2.0's Spikformer in the order of the authors' code (Zhou et al. 2022, arXiv 2209.15425).

    There the last two convolutions of the stem are pooled after their neuron, not before; attention is (q k^T) v; the head
    reads the mean over the time steps, once. The Linear biases (before a normalisation) and unused LayerNorms that only the
    original has change parameters, not spikes.
    """
    for stage in net.patch_embed.stages[2:]:
        convolution, norm, pool = stage.conv_bn.block
        stage.conv_bn.block = SeqToANNContainer(convolution, norm)
        stage.neuron = nn.Sequential(stage.neuron, SeqToANNContainer(pool))
    for block in net.blocks:
        block.attn._ssa_kernel_torch = query_first
    features = net.forward_features
    net.forward_features = lambda images: features(images).mean(0, keepdim=True)
    return net


def test_both_orders_of_attention_give_the_same():
    spikes = (torch.rand(4, 2, 3, 12, 32, 64, generator=torch.Generator().manual_seed(0)) < 0.1).float()
    assert torch.equal(query_first(spikes, 0.125), SpikingSelfAttention._ssa_kernel_torch(spikes, 0.125))


@pytest.mark.slow
def test_spikformer_4_384_costs_5_12_or_0_59_mj_by_what_an_integer_is():
    # Both figures are those of initialisation, under batch statistics (in eval mode the network is silent: 0.024 mJ).
    # Over 16 seeds: 5.116 +- 0.004 and 0.592 +- 0.006 mJ; with four CIFAR-10 images, over 8: 5.118 +- 0.005 and 0.593 +- 0.008.
    # Outside the tolerances: white noise (5.164 and 0.628), and SpikingJelly's pooling before the neuron (5.156 and 0.654).
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = as_published(spikformer_cifar10())
        images = natural_noise(8)
    with torch.no_grad(), Observer() as observer:
        net.train()(images)
    seen = {name: (macs // len(images), kind, mean) for name, (macs, kind, mean) in observer.seen.items()}
    biases, layer_norms = 4 * (4 * 384 + 1536 + 384), 4 * 2 * 2 * 384
    assert sum(p.numel() for p in net.parameters()) + biases + layer_norms == 9_330_874
    assert sum(macs for macs, _, _ in seen.values()) == 3_736_145_664

    # `macs` already spans the time steps. SpikingJelly joins q, k and v into one convolution.
    def bill(real):
        rows = [row_of(name, macs, 1, REAL if kind in real else name) for name, (macs, kind, _) in seen.items()]
        return estimate_energy(rows, {name: mean for name, (_, _, mean) in seen.items()})

    multiplied, accumulated = bill({"real", "integers"}), bill({"real"})
    assert total_mj(multiplied) == pytest.approx(5.12, abs=0.015)
    assert total_mj(accumulated) == pytest.approx(0.59, abs=0.02)

    assert [name for name, (_, kind, _) in seen.items() if kind == "real"] == [
        "patch_embed.stages.0.conv_bn.block.0:0",
        "head:0",
    ]
    residual_readers = [f"blocks.{i}.{layer}:0" for i in range(4) for layer in ("attn.qkv_conv_bn.0", "mlp.fc1.0")]
    assert [name for name, (_, kind, _) in seen.items() if kind == "integers"] == residual_readers
    gaps = {
        a.name: a.energy_pj - b.energy_pj
        for a, b in zip(multiplied, accumulated, strict=True)
        if a.energy_pj != b.energy_pj
    }
    assert gaps == pytest.approx({name: seen[name][0] * (4.6 - 0.9 * seen[name][2]) for name in residual_readers})
    assert sum(gaps.values()) * 1e-9 == pytest.approx(total_mj(multiplied) - total_mj(accumulated), rel=1e-12)


def spikingformer():
    """The study that builds Spikingformer as its authors do."""
    spec = importlib.util.spec_from_file_location("true_spikingformer", STUDY / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_spikingformer_as_its_authors_build_it_has_their_counts():
    study, results = spikingformer(), json.loads((STUDY / "results.json").read_text())
    for name, found in results["networks"].items():
        network, task = NETWORKS[name], Task.preset(NETWORKS[name].task)
        with torch.device("meta"):
            built = study.Spikingformer(in_autost_form(network.architecture), task)
        params = sum(parameter.numel() for parameter in built.parameters())
        assert params == found["as_published"]["params"] == count_params(network.architecture, task) + network.unused
        if task.name == "cifar10":  # for ImageNet the study has another order of products
            assert found["as_published"]["macs"] == count_macs(network.architecture, task)
        assert found["as_published"]["macs"] == found["autost_form"]["macs"]
    assert results["networks"]["spikingformer-4-384"]["as_published"]["macs"] == 3_736_145_664
    assert results["networks"]["spikingformer-4-384"]["as_published"]["unused_params"] == 6_144


@pytest.mark.slow
def test_spikingformer_4_384_costs_several_times_less_than_autosts_form_of_its_sizes():
    study, network = spikingformer(), NETWORKS["spikingformer-4-384"]
    sizes, task = in_autost_form(network.architecture), Task.preset(network.task)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        built = study.Spikingformer(sizes, task)
        images = natural_noise(4)
    assert study.counted(built, task) == 3_736_145_664
    # The rows are those of its modules, each read by spikes but the first and the head.
    check_ledger(built, study.ledger(sizes, task))
    energy = total_mj(study.bill(built, study.ledger(sizes, task), images))
    assert energy == pytest.approx(0.345, abs=0.025)
    assert evaluate(sizes, InitialRates(task, images)).energy_mj > 5 * energy
    # Ours of the same form has other weights and an attention of its own in the ledger.
    assert evaluate(network.architecture, InitialRates(task, images)).energy_mj == pytest.approx(energy, rel=0.03)
