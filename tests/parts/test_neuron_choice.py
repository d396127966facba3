import re

import optuna
import pytest
import torch

from autost_optuna import Architecture, Space, SpikingTransformer, Task
from autost_optuna.network.neurons.kinds import neuron_of, neuron_text
from autost_optuna.network.neurons.lif import LIF
from autost_optuna.proxies.proof import prove_ledger
from autost_optuna.proxies.rates import batch_statistics, measure_rates
from autost_optuna.proxies.reuse import InitialRates
from autost_optuna.search.exact import class_of, count_classes, representatives

NEURON_TEXTS = [
    "lif",
    "lif(tau=1.23456789)",
    "lif(tau=1234567)",
    "lif(tau=3)",
    "plif",
    "plif(tau=3)",
    "plif(threshold=0.5)",
    "plif(tau=3;threshold=0.75)",
]


@pytest.mark.parametrize("text", NEURON_TEXTS)
def test_a_neuron_and_its_text_lead_to_each_other(text):
    neuron = neuron_of(text)
    assert neuron_text(neuron) == text
    one = Architecture(embed_dim=16, depth=1, num_heads=(2,), mlp_ratio=(2,), neuron=neuron)
    assert Architecture.from_text(one.to_text()) == Architecture.from_dict(one.to_dict()) == one
    usual = Architecture.uniform(embed_dim=16, depth=1, num_heads=2, mlp_ratio=2)
    assert (one == usual) == (one.key == usual.key) == (one.to_dict() == usual.to_dict()) == (text == "plif")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("if", "neuron 'if' is unknown; choose one of plif, lif"),
        ("plif(", "is unknown"),
        ("plif(v=1)", "'v' is not a field"),
        ("plif(tau)", "tau '' is not a number"),
        ("plif(tau=x)", "tau 'x' is not a number"),
        ("plif(tau=3;tau=4)", "gives tau twice"),
        ("plif(tau=1)", "tau 1.0 of a neuron is not a finite number above 1"),
        ("plif(threshold=0)", "threshold 0.0 of a neuron"),
        (3, "neuron 3 is unknown"),
        (None, "neuron None is unknown"),
    ],
)
def test_wrong_neurons_are_refused_with_value_and_remedy(text, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        neuron_of(text)


def test_a_space_offers_neurons_and_a_network_has_one():
    data = {
        "embed_dim": [16],
        "depth": [1, 2],
        "num_heads": [2],
        "mlp_ratio": [1, 2],
        "neuron": ["plif", "plif(tau=3)"],
    }
    space = Space.from_dict(data)
    assert Space.from_dict(space.to_dict()) == space
    every = list(space.enumerate())
    assert len(every) == space.size == len(set(every)) == 2 * (2 + 4)
    assert all(one in space for one in every)
    chosen = list(representatives(space))
    assert {class_of(one) for one in chosen} == {class_of(one) for one in every}
    assert len(chosen) == count_classes(space) == 2 * (2 + 3)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = set()
    for _ in range(20):
        trial = study.ask()
        one = space.suggest(trial)
        assert space.architecture(trial.params) == one
        assert set(trial.params) == space.active(trial.params) <= set(space.distributions())
        drawn.add(one.neuron.tau)
    assert drawn == {2.0, 3.0}


def test_another_neuron_has_other_rates_and_its_network_passes_the_proof():
    task = Task.preset("digits")
    images = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    rates = InitialRates(task, images)
    found = []
    for text in ("plif", "lif(tau=4)", "plif(threshold=0.5)", "plif"):
        one = Architecture(embed_dim=16, depth=2, num_heads=(2, 2), mlp_ratio=(1, 2), neuron=neuron_of(text))
        network = SpikingTransformer(one, task)
        prove_ledger(network)
        with batch_statistics(network):
            fresh = measure_rates(network, images)
        found.append(rates.measure(one))
        assert found[-1] == fresh
    assert found[0] == found[3]
    assert found[0][0]["stem.conv2"] > found[1][0]["stem.conv2"]  # a slower neuron fires less
    assert found[0][0]["stem.conv2"] < found[2][0]["stem.conv2"]


def test_a_lif_neurons_trajectory_by_eye():
    # h = v + (x - v) / 2: 0.8, then 1.2 fires and resets to 0, then 0.9, then 1.05 fires.
    currents = torch.tensor([1.6, 1.6, 1.8, 1.2])[:, None]
    with torch.no_grad():
        assert LIF().module()(currents).flatten().tolist() == [0, 1, 0, 1]
        assert LIF(tau=4).module()(4 * currents / 2).flatten().tolist() == [0, 1, 0, 1]
        assert LIF(threshold=2).module()(currents).sum() == 0
    assert list(LIF().module().parameters()) == []


def test_neurons_that_differ_by_little_are_two():
    one, other = (
        Architecture(embed_dim=16, depth=1, num_heads=(2,), mlp_ratio=(1,), neuron=LIF(tau=tau))
        for tau in (1.2345678, 1.23456789)
    )
    assert one.key != other.key
    assert neuron_text(LIF(tau=2)) == neuron_text(LIF(tau=2.0)) == "lif"
