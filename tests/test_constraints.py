import json
import math
import threading
import urllib.request
from wsgiref.simple_server import WSGIRequestHandler, make_server

import optuna
import pytest
from optuna.trial import TrialState
from optuna_dashboard import wsgi

from autost_optuna import Architecture, Objective, Space, Task
from autost_optuna.front.constraints import Constraints, violation
from autost_optuna.front.front import nondominated
from autost_optuna.proxies.flops import count_flops, count_params
from autost_optuna.proxies.reuse import InitialRates
from autost_optuna.search import study as studies
from autost_optuna.search.exact import check_feasible
from autost_optuna.search.runner import run
from autost_optuna.search.settings import Plan
from autost_optuna.search.study import find_exact
from autost_optuna.search.summary import summarise
from autost_optuna.storage.storage import open_storage

CIFAR10 = Task.preset("cifar10")
KNOWN = Architecture.from_text("C=384,depth=4,heads=8,ratio=4")  # 9,324,761 parameters, 7,472,291,328 FLOPs


def test_values_by_hand():
    bounds = Constraints(
        min_params=10_000_000, max_params=12_000_000, max_flops=7_000_000_000, min_depth=2, max_depth=4
    )
    found = bounds.of_counts(KNOWN, CIFAR10)
    assert found == {
        "min_params": pytest.approx(1 - 9_324_761 / 10_000_000),
        "max_params": pytest.approx(9_324_761 / 12_000_000 - 1),
        "max_flops": pytest.approx(7_472_291_328 / 7_000_000_000 - 1),
        "min_depth": -1,
        "max_depth": 0,
    }
    assert violation(found) == pytest.approx(0.0675239 + 0.0674702, abs=1e-6)
    assert Constraints(max_energy_mj=2).of_energy(3) == {"max_energy_mj": 0.5}
    assert Constraints().of_counts(KNOWN, CIFAR10) == Constraints().of_energy(1) == {}
    assert not Constraints()
    assert bounds
    assert str(bounds) == "params 10.0 M to 12.0 M, FLOPs at most 7.00 G, depth 2 to 4"
    assert str(Constraints(min_depth=3, max_energy_mj=1.5)) == "depth at least 3, energy at most 1.50 mJ"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"min_params": 0}, "min_params 0 is not a positive number"),
        ({"max_flops": math.nan}, "max_flops nan"),
        ({"max_energy_mj": -1}, "max_energy_mj -1"),
        ({"max_depth": True}, "max_depth True"),
        ({"max_params": "12M"}, "max_params '12M'"),
        ({"min_depth": 5, "max_depth": 4}, "min_depth 5 is over max_depth 4"),
    ],
)
def test_bounds_that_cannot_be_are_refused(options, said):
    with pytest.raises(ValueError, match=said):
        Constraints(**options)


def test_counts_are_checked_before_any_forward_pass(toy_space, toy_task, monkeypatch):
    objective = Objective(toy_space, toy_task, constraints=Constraints(max_depth=1, max_params=1))

    def forward(*arguments):
        raise AssertionError("a network was run")

    monkeypatch.setattr(InitialRates, "measure", forward)
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=optuna.samplers.NSGAIISampler(seed=0))
    study.optimize(objective, n_trials=10)
    for trial in study.trials:
        assert trial.state == TrialState.PRUNED
        params = count_params(toy_space.architecture(trial.params), toy_task)
        assert trial.constraints == {"max_params": params - 1, "max_depth": trial.params["depth"] - 1}
        assert trial.user_attrs["infeasible"].startswith("outside the constraints: max_params by ")
        assert "candidate" not in trial.user_attrs


class Silent(WSGIRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture
def constrained(tmp_path, toy_space, toy_task):
    """A study in which about a half of the space keeps the counted constraints, and the energy rules some more out."""
    storage = str(tmp_path / "s.journal")
    free = studies.create("free", storage, Plan(space=toy_space, task=toy_task))
    run(free, trials=40)
    energies = sorted(c.energy_mj for c in free.candidates())
    bounds = Constraints(min_depth=2, max_params=30_000, max_energy_mj=energies[len(energies) // 2])
    search = studies.create("s", storage, Plan(space=toy_space, task=toy_task, constraints=bounds))
    run(search, trials=60)
    return search, storage


def kept(search, candidate):
    bounds = search.settings.constraints
    return (
        candidate.architecture.depth >= bounds.min_depth
        and candidate.params <= bounds.max_params
        and candidate.energy_mj <= bounds.max_energy_mj
    )


@pytest.mark.slow
def test_what_is_infeasible_is_never_on_the_front_nor_a_candidate(constrained):
    search, storage = constrained
    trials = search.study.trials
    infeasible = [trial for trial in trials if trial.state == TrialState.PRUNED]
    assert infeasible
    assert all(any(value > 0 for value in trial.constraints.values()) for trial in infeasible)
    assert all(kept(search, candidate) for candidate in search.candidates())
    assert len(search.candidates()) + len(infeasible) == 60
    assert summarise(search).infeasible == len(infeasible)
    assert summarise(search).silent == 0
    # Those that the energy rules out were measured, and would have been on the front.
    measured = [trial for trial in infeasible if "candidate" in trial.user_attrs]
    assert measured
    assert max(t.user_attrs["candidate"]["flops"] for t in measured) > max(c.flops for c in search.front())
    reopened = studies.open_search("s", storage)
    assert reopened.settings.constraints == search.settings.constraints
    best = {trial.number for trial in reopened.study.best_trials}
    assert best == {candidate.number for candidate in reopened.front()}


@pytest.mark.slow
def test_the_sampler_does_not_waste_trials_on_what_counts_rule_out(constrained):
    search, _ = constrained
    counted = [t for t in search.study.trials if "infeasible" in t.user_attrs and "candidate" not in t.user_attrs]
    assert counted == []


@pytest.mark.slow
def test_the_dashboard_shows_nothing_infeasible_as_best(constrained):
    """Asked as its page asks: the real application of optuna-dashboard, over its API."""
    search, storage = constrained
    with make_server("127.0.0.1", 0, wsgi(open_storage(storage)), handler_class=Silent) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/api/studies/{search.study._study_id}?after=0"
        with urllib.request.urlopen(address, timeout=30) as reply:
            answer = json.load(reply)
        server.shutdown()
    states = {trial["number"]: trial["state"] for trial in answer["trials"]}
    assert len(states) == 60
    assert {trial["number"] for trial in answer["best_trials"]} == {c.number for c in search.front()}
    infeasible = {t.number for t in search.study.trials if "infeasible" in t.user_attrs}
    assert infeasible
    assert {states[number] for number in infeasible} == {"Pruned"}


@pytest.mark.slow
def test_the_exact_front_keeps_the_constraints(constrained, toy_space, toy_task):
    search, _ = constrained
    exact = find_exact(search)
    assert all(kept(search, member) for member in exact.members)
    objective = Objective(toy_space, toy_task)
    whole = [objective.evaluate(architecture) for architecture in toy_space.enumerate()]
    front = nondominated(candidate for candidate in whole if kept(search, candidate))
    assert {m.flops for m in exact.members} >= {c.flops for c in front[:-1]}
    assert exact.hypervolume <= 1


def test_constraints_that_nothing_keeps_are_refused(tmp_path, toy_space, toy_task):
    storage = str(tmp_path / "s.journal")
    small = Space.load("small")
    with pytest.raises(
        ValueError, match=r"keeps params 1.00 M to 2.00 M: it has 2\.\d+ M to \d+\.\d M parameters, .* depth 2 to 12"
    ):
        check_feasible(small, CIFAR10, Constraints(min_params=1e6, max_params=2e6))
    # Each end is within the space's range, and yet no architecture is between them.
    flops = sorted({count_flops(architecture, toy_task) for architecture in toy_space.enumerate()})
    between = Constraints(min_flops=flops[0] + 1, max_flops=flops[1] - 1)
    with pytest.raises(ValueError, match="no architecture of the space toy keeps FLOPs"):
        studies.create("s", storage, Plan(space=toy_space, task=toy_task, constraints=between))
    with pytest.raises(ValueError, match=r"max_energy 1e-09 mJ cannot be kept: the smallest network .* takes"):
        studies.create("s", storage, Plan(space=toy_space, task=toy_task, constraints=Constraints(max_energy_mj=1e-9)))
    assert list(tmp_path.iterdir()) == []
    check_feasible(small, CIFAR10, Constraints(min_params=11e6, max_params=12e6))
    check_feasible(small, CIFAR10, Constraints())


def test_a_window_of_parameters_is_filled_in_a_space_of_billions():
    """AutoST's window, 11 to 12 million: every trial lies in it from the first on."""
    bounds, space = Constraints(min_params=11e6, max_params=12e6), Space.load("small")

    def objective(trial):
        architecture = space.suggest(trial)
        assert not violation(bounds.of_counts(architecture, CIFAR10))
        return count_flops(architecture, CIFAR10), architecture.depth

    from autost_optuna.search.sampler import DeclaredNSGAIISampler

    sampler = DeclaredNSGAIISampler(
        space.distributions(),
        active=space.active,
        violation=lambda values: violation(bounds.of_counts(space.architecture(values), CIFAR10)),
        seed=0,
    )
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    study.optimize(objective, n_trials=60)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 60
