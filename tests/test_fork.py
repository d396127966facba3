import optuna
import pytest
from optuna.trial import TrialState

from autost_optuna import Objective
from autost_optuna.proxies.convention import Convention
from autost_optuna.search import study as studies
from autost_optuna.search.fork import ORIGIN, fork
from autost_optuna.search.runner import run
from autost_optuna.search.settings import Plan, installed_versions
from autost_optuna.search.study import open_search


@pytest.fixture
def storage(tmp_path):
    return str(tmp_path / "s.journal")


@pytest.fixture
def old(storage, toy_space, toy_task):
    search = studies.create("old", storage, Plan(space=toy_space, task=toy_task, population=8))
    run(search, trials=20)
    return search


def other_versions(search):
    """The study as if it had been made with another torch."""
    settings = search.settings.to_dict()
    settings["versions"] = {**settings["versions"], "torch": "2.0.1"}
    search.study.set_user_attr(studies.ATTRIBUTE, settings)


def test_a_resume_under_other_versions_is_refused_naming_both(old, storage):
    other_versions(old)
    reopened = open_search("old", storage)
    with pytest.raises(ValueError, match=r"made with torch 2\.0\.1, here is 2\.[\d.+a-z]+, .*study fork"):
        run(reopened, trials=1)
    assert len(open_search("old", storage).study.trials) == 20


def test_a_build_of_the_same_version_is_none_of_another(old, storage):
    settings = old.settings.to_dict()
    torch = settings["versions"]["torch"].partition("+")[0]
    settings["versions"] = {**settings["versions"], "torch": f"{torch}+cu999"}
    old.study.set_user_attr(studies.ATTRIBUTE, settings)
    assert run(open_search("old", storage), trials=1).done == 1


@pytest.mark.slow
def test_a_fork_takes_over_results_that_hold(old, storage):
    before = old.study.get_trials()
    other_versions(old)
    made = fork(open_search("old", storage), "new", storage)
    assert (made.copied, made.queued, made.reason) == (20, 0, None)
    again = open_search("new", storage)
    assert [(t.params, t.values, t.user_attrs) for t in again.study.trials] == [
        (t.params, t.values, t.user_attrs) for t in before
    ]
    assert again.settings.versions == installed_versions()
    assert again.study.user_attrs[ORIGIN]["versions"]["torch"] == "2.0.1"
    assert run(again, trials=10).done == 10
    assert len(again.study.trials) == 30
    assert len(open_search("old", storage).study.trials) == 20


@pytest.mark.slow
def test_a_fork_under_another_convention_measures_the_old_front_first(old, storage):
    memory = Convention.load("memory")
    members = old.front()
    made = fork(old, "new", storage, convention=memory)
    assert made.reason == "the convention is memory, it was horowitz-45nm-fp32"
    assert (made.copied, made.queued) == (0, len(members))
    waiting = open_search("new", storage).study.get_trials(states=(TrialState.WAITING,))
    assert len(waiting) == len(members)
    search = open_search("new", storage)
    run(search, trials=len(members) + 3)
    candidates = search.candidates()
    assert {c.architecture for c in members} == {c.architecture for c in candidates[: len(members)]}
    assert {c.convention for c in candidates} == {"memory"}
    assert all(c.energy_mj > max(m.energy_mj for m in members) for c in candidates)


def test_a_fork_of_figures_that_do_not_hold_measures_anew(old, storage):
    moved = studies.make_study("moved", storage, old.settings)
    for frozen in old.study.get_trials():
        candidate = {**frozen.user_attrs["candidate"]}
        candidate["energy_mj"] *= 1.001
        moved.study.add_trial(
            optuna.trial.create_trial(
                values=[frozen.values[0], candidate["energy_mj"]],
                params=frozen.params,
                distributions=frozen.distributions,
                user_attrs={"candidate": candidate},
            )
        )
    made = fork(moved, "new", storage)
    assert made.copied == 0
    assert "it gave" in made.reason


def test_a_fork_needs_a_name_of_its_own(old, storage, monkeypatch):
    monkeypatch.setattr(Objective, "measure", lambda *given: pytest.fail("measured before the name was checked"))
    with pytest.raises(ValueError, match=r"'old' exists in .*; choose another name, or delete it first$"):
        fork(old, "old", storage)
    assert len(open_search("old", storage).study.trials) == 20
