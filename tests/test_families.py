"""The published families: counts of their authors' networks, and their layers against SpikingJelly's."""

import pytest
import torch
from makers import natural_noise

from autost_optuna import Architecture, SpikingTransformer, Task, evaluate
from autost_optuna.network.families import FAMILIES, NETWORKS, published
from autost_optuna.network.styles import STYLES
from autost_optuna.proxies.convention import CONVENTIONS
from autost_optuna.proxies.flops import count_macs, count_params
from autost_optuna.proxies.proof import prove_ledger
from autost_optuna.proxies.reuse import InitialRates

# Parameters with those that are never used, and GMACs over 4 steps with attention products, as counted on the authors' code.
COUNTED = {
    "spikformer-2-384": ("cifar10", 5_768_122, "2.805010"),
    "spikformer-4-384": ("cifar10", 9_330_874, "3.736146"),
    "spikingformer-2-384": ("cifar10", 5_765_818, "2.805010"),
    "spikingformer-4-384": ("cifar10", 9_326_266, "3.736146"),
    "spikingformer-8-512": ("imagenet", 29_705_768, "33.436193"),
    "sdt-2-512": ("cifar10", 10_233_546, "4.939600"),
    "qkformer-4-384": ("cifar10", 6_706_234, "6.063984"),
    "maxformer-4-384": ("cifar10", 6_568_282, "3.914076"),
    "spikingresformer-ti": ("cifar10", 10_793_152, "4.862000"),
    "spikingresformer-m": ("imagenet", 35_601_472, "42.775503"),
    "sdt-8-512": ("imagenet", 29_689_896, "33.026687"),
    "spikformer-2-256": ("cifar10dvs", 2_585_610, "3.785362"),
    "spikingformer-2-256": ("cifar10dvs", 2_568_714, "3.785362"),
    "sdt-2-256-cifar10dvs": ("cifar10dvs-64", 2_566_794, "12.354872"),
    "sdt-2-256-gesture": ("dvs128gesture", 2_567_051, "23.504925"),
    "spikingresformer-dvsg": ("dvs128gesture-64", 2_709_830, "22.882059"),
}


def counts(name, task):
    network = NETWORKS[name]
    params = count_params(network.architecture, task) + network.unused
    return params, f"{count_macs(network.architecture, task) / 1e9:.6f}"


@pytest.mark.parametrize("name", COUNTED)
def test_counts_are_those_of_the_authors_networks(name):
    task, *expected = COUNTED[name]
    assert counts(name, Task.preset(task)) == tuple(expected)


def test_counts_for_100_classes():
    assert counts("qkformer-4-384", Task.preset("cifar100")) == (6_740_884, "6.064019")


def test_sizes_that_papers_print():
    """In millions of parameters: QKFormer (its README) and Spikingformer's for recordings."""
    printed = {
        "qkformer-10-384": 16.47,
        "qkformer-10-512": 29.08,
        "qkformer-10-768": 64.96,
        "spikingformer-2-256": 2.57,
        "sdt-2-256-cifar10dvs": 2.57,
    }
    for name, millions in printed.items():
        assert counts(name, Task.preset(NETWORKS[name].task))[0] / 1e6 == pytest.approx(millions, abs=0.005)


def test_the_network_for_gestures_has_the_parameters_of_its_layers():
    """SpikingResformer's: 3x3 convolutions from stage to stage, blocks of attention and feed-forward part, groups of 32."""

    def block(width, patch):
        attention = width * 2 * width * patch**2 + 2 * 2 * width + width**2 + 2 * width
        hidden = 4 * width
        feed_forward = 2 * width * hidden + 9 * hidden * 32 + 2 * hidden * 2 + 2 * width
        return attention + feed_forward + 6  # a decay for each layer of neurons

    stem = 9 * 3 * 32 + 2 * 32
    second, third = 9 * 32 * 96 + 2 * 96 + 1, 9 * 96 * 192 + 2 * 192 + 1
    expected = stem + block(32, 4) + second + 2 * block(96, 2) + third + 3 * block(192, 1) + 192 * 11
    assert counts("spikingresformer-dvsg", Task.preset("dvs128gesture-64"))[0] == expected == 2_709_830


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_is_built_with_the_parameters_that_are_counted(name):
    network = NETWORKS[name]
    task = Task.preset(network.task)
    built = SpikingTransformer(network.architecture, task, seed=None)
    assert sum(parameter.numel() for parameter in built.parameters()) == count_params(network.architecture, task)
    assert Architecture.from_text(network.architecture.to_text()) == network.architecture
    assert Architecture.from_dict(network.architecture.to_dict()) == network.architecture


@pytest.mark.slow
@pytest.mark.parametrize("name", [names[-1] for names in FAMILIES.values()])
def test_the_ledger_of_every_family_is_proven(name):
    network = NETWORKS[name]
    prove_ledger(SpikingTransformer(network.architecture, Task.preset(network.task), seed=None))


def test_every_family_has_a_source_and_figures_are_percentages():
    assert list(FAMILIES) == [
        "spikformer",
        "spikingformer",
        "sdt",
        "qkformer",
        "maxformer",
        "spikingresformer",
        "autost",
    ]
    assert {network.architecture.form.stem for network in NETWORKS.values()} == set(STYLES)
    for name, network in NETWORKS.items():
        assert name.startswith(network.family)
        assert network.source
        assert all(70 < value < 100 for value in network.accuracies.values())
        assert bool(network.unused) == bool(network.unused_what)
    assert NETWORKS["spikformer-4-384"].accuracies_in_words == "95.19 % CIFAR-10, 77.86 % CIFAR-100"
    assert NETWORKS["spikingformer-8-512"].energy_mj == 7.46


def test_a_family_lists_its_networks_and_an_unknown_name_lists_the_families():
    with pytest.raises(ValueError, match="qkformer is a family; choose one of qkformer-4-384, qkformer-10-384, "):
        published("QKFormer")
    with pytest.raises(ValueError, match="no network 'vit'; choose one of the families spikformer, "):
        published("vit")


def test_equal_networks_have_equal_keys_and_other_ones_have_others():
    keys = {(network.architecture.key, network.task) for network in NETWORKS.values()}
    architectures = {network.architecture for network in NETWORKS.values()}
    assert len(keys) == len(NETWORKS)
    assert len({network.architecture.key for network in NETWORKS.values()}) == len(architectures)


def test_one_network_serves_tasks_of_different_sizes():
    """The first embedding of a pyramid halves the image as often as the task does beyond its stages."""
    images = torch.empty(1, 3, 224, 224, device="meta")
    architecture = NETWORKS["spikingresformer-ti"].architecture
    network = SpikingTransformer(architecture, Task.preset("imagenet"), seed=None).eval()
    assert network(images).shape == (1, 1000)
    assert network.stem.conv1.kernel_size == (7, 7)


@pytest.mark.slow
def test_spikformer_4_384_costs_5_12_or_0_59_mj_under_two_named_conventions():
    """Figures of the same network that papers print; with four CIFAR-10 images 5.118 and 0.593 mJ."""
    architecture, task = NETWORKS["spikformer-4-384"].architecture, Task.preset("cifar10")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        rates = InitialRates(task, natural_noise(4))
    found = {name: evaluate(architecture, rates, convention=CONVENTIONS[name]).energy_mj for name in CONVENTIONS}
    assert found["integers-mac"] == pytest.approx(5.12, abs=0.02)
    assert found["horowitz-45nm-fp32"] == pytest.approx(0.59, abs=0.03)
