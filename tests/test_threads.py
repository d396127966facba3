"""Measurements from several threads, and copies of what has measured, have the figures of one thread and a fresh object."""

import copy
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import optuna
import pytest
import torch
from optuna.trial import TrialState

from autost_optuna import DeclaredNSGAIISampler, Objective, Space, SpikingTransformer, Task
from autost_optuna.data import Sample, rate_images
from autost_optuna.proxies.goals import GOALS
from autost_optuna.proxies.rates import batch_statistics, measure_rates
from autost_optuna.proxies.reuse import InitialRates
from autost_optuna.proxies.scores import measure_scores
from autost_optuna.search import objective
from autost_optuna.search.describe import describe
from autost_optuna.search.evaluate import evaluate

DIGITS = Task.preset("digits")
SPACE = Space(name="s", embed_dim=(64,), depth=(3,), num_heads=(4, 8), mlp_ratio=(2, 3, 4))
THREADS = 4


def sampled(count):
    """Every so many architectures of the space, all with another mixture of heads and ratios."""
    architectures = list(SPACE.enumerate())
    return architectures[:: len(architectures) // count][:count]


def in_threads(call, items):
    """The results of `call` for all items, from threads that start together."""
    start = threading.Barrier(THREADS)

    def work(share):
        start.wait()
        return [call(item) for item in share]

    shares = [items[first::THREADS] for first in range(THREADS)]
    with ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(work, shares))
    return [found[place % THREADS][place // THREADS] for place in range(len(items))]


def test_a_study_of_two_threads_has_the_energies_of_one():
    shared, fresh = Objective(SPACE, DIGITS), Objective(SPACE, DIGITS)
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=optuna.samplers.RandomSampler(seed=1))
    study.optimize(shared, n_trials=60, n_jobs=2, catch=(Exception,))
    assert {trial.state for trial in study.trials} == {TrialState.COMPLETE}
    architectures = [SPACE.architecture(trial.params) for trial in study.trials]
    assert [trial.values[1] for trial in study.trials] == [fresh.evaluate(a).energy_mj for a in architectures]
    for architecture in sampled(6):  # and afterwards, from what it kept
        assert shared.rates.measure(architecture) == fresh.rates.measure(architecture)


def test_threads_of_a_study_with_our_sampler_try_every_point_once(toy_space):
    space = replace(toy_space, depth=(1, 2))
    shared, fresh = Objective(space, DIGITS), Objective(space, DIGITS)
    sampler = DeclaredNSGAIISampler(space.distributions(), active=space.active, seed=0)
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    study.optimize(shared, n_trials=100, n_jobs=4)
    complete = [trial for trial in study.trials if trial.state == TrialState.COMPLETE]
    assert {space.architecture(trial.params) for trial in complete} == set(space.enumerate())
    assert len(complete) == space.size
    assert [t.values[1] for t in complete] == [fresh.evaluate(space.architecture(t.params)).energy_mj for t in complete]
    vain = [
        trial for trial in study.trials if trial.state != TrialState.COMPLETE
    ]  # asked for before the last one ended
    assert all(trial.state == TrialState.PRUNED and not trial.params for trial in vain)


def test_what_threads_ask_for_at_once_is_measured_once(monkeypatch):
    calls = []

    def counted(architecture, *args, **options):
        calls.append(architecture)
        return evaluate(architecture, *args, **options)

    monkeypatch.setattr(objective, "evaluate", counted)
    shared = Objective(SPACE, DIGITS, objectives=("flops", "energy_mj", "sahd"))
    found = in_threads(shared.evaluate, sampled(1) * 8)
    assert len(calls) == 1
    assert len({id(candidate) for candidate in found}) == 1
    assert found[0].scores


@pytest.mark.parametrize("name", ["measure", "evaluate", "scores"])
@pytest.mark.slow
def test_measurements_from_threads_equal_those_of_one(name):
    drawn = rate_images(DIGITS, Sample(images=4))

    def call(rates, architecture):
        if name == "measure":
            return rates.measure(architecture), str(rates.measure_patterns(architecture))
        if name == "evaluate":
            return evaluate(architecture, rates)
        return measure_scores(architecture, rates, drawn.labels, tuple(GOALS))

    rates = InitialRates(DIGITS, drawn.images, patterns=True, cache_bytes=200_000)
    architectures = sampled(4 if name == "scores" else 8)
    found = in_threads(lambda architecture: call(rates, architecture), architectures)
    alone = InitialRates(DIGITS, drawn.images, patterns=True)
    assert found == [call(alone, architecture) for architecture in architectures]


@pytest.mark.slow
def test_threads_may_measure_one_network_and_leave_no_trace():
    flags = torch.backends.cudnn
    before = flags.benchmark, flags.deterministic, flags.allow_tf32
    (architecture,), images = sampled(1), rate_images(DIGITS, Sample(images=8)).images
    network = SpikingTransformer(architecture, DIGITS).eval()

    def call(batch):
        described = describe(architecture, DIGITS, trained=network).candidate.energy_mj
        plain = measure_rates(network, batch)
        with batch_statistics(network):
            return described, plain, measure_rates(network, batch)

    batches = images.split(4) * 4
    found = in_threads(call, batches)
    assert found == [call(batch) for batch in batches[:2]] * 4
    assert not any(module.training or module._forward_pre_hooks for module in network.modules())
    assert (flags.benchmark, flags.deterministic, flags.allow_tf32) == before


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda used: pickle.loads(pickle.dumps(used))], ids=["copy", "pickle"]
)
def test_a_used_objective_is_copied_with_its_candidates_and_without_its_cache(copied):
    used = Objective(SPACE, DIGITS, seeds=2, objectives=("flops", "energy_mj", "sahd"))
    known, *further = sampled(4)
    expected = used.evaluate(known)
    again = copied(used)
    assert again.rates.cache_bytes == 0 < used.rates.cache_bytes
    again.rates.batches, batches = {}, again.rates.batches
    assert again.evaluate(known) == expected  # known, not measured
    again.rates.batches = batches
    assert again.rates.measure(known) == used.rates.measure(known)
    assert [again.evaluate(one) for one in further] == [used.evaluate(one) for one in further]
    assert len(pickle.dumps(again)) < 100_000
