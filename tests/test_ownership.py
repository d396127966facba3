"""Trained networks are found after optuna-dashboard, asked as its own page asks, has renamed a study."""

import io
import json
from wsgiref.util import setup_testing_defaults

import pytest
from makers import SPACE, TASK, claim_of, store, training
from optuna.trial import TrialState, create_trial
from optuna_dashboard import get_note
from optuna_dashboard._app import create_app

from autost_optuna.delivery.board import write_board
from autost_optuna.network.chain import operations
from autost_optuna.search import study as studies
from autost_optuna.search.catalogue import delete
from autost_optuna.search.ownership import find_trained, owner_of
from autost_optuna.search.presence import Presence
from autost_optuna.search.runner import run
from autost_optuna.search.settings import Plan
from autost_optuna.storage.artifacts import artifacts_of
from autost_optuna.storage.storage import open_storage
from autost_optuna.training.record import write_curve
from autost_optuna.training.records import open_trained, trainings_of


@pytest.fixture
def storage(tmp_path):
    return str(tmp_path / "s.journal")


def make(storage, name, seed=0, trials=4):
    search = studies.create(name, storage, Plan(space=SPACE, task=TASK, seed=seed, population=6))
    run(search, trials=trials)
    return search


def rename(storage, name, new):
    """What the page of optuna-dashboard sends, to its own program."""
    opened = open_storage(storage)
    body = json.dumps({"study_name": new}).encode()
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": f"/api/studies/{opened.get_study_id_from_name(name)}/rename",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
    }
    setup_testing_defaults(environ)
    answers = []
    b"".join(create_app(opened)(environ, lambda status, headers, *rest: answers.append(status)))
    assert answers == ["201 Created"]


def shown(cli, storage, *words):
    result = cli(*words, "--storage", storage)
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.parametrize("form", ["{}/s.journal", "sqlite:///{}/s.db"])
@pytest.mark.slow
def test_a_renamed_search_keeps_what_was_trained_of_it(cli, form, tmp_path):
    storage = form.format(tmp_path)
    search = make(storage, "demo")
    members = search.candidates()
    write_curve(tmp_path / "curve.csv", [])
    rates = {row.name: 0.1 for row in operations(members[0].architecture, TASK) if row.driven_by}
    made = store(search, members[0], [tmp_path / "curve.csv"], rates=rates, initial_rates=rates)
    files = artifacts_of(open_trained(search).study)
    rename(storage, "demo", "final")
    renamed = studies.open_search("final", storage, write=True)
    assert [trial.number for trial in renamed.study.trials] == list(range(4))
    assert renamed.candidates() == members
    assert trainings_of(renamed) == [made]
    assert artifacts_of(open_trained(renamed).study) == files
    assert shown(cli, storage, "study", "show", "final", "-f", "json")["trained"]["networks"] == 1
    assert len(shown(cli, storage, "study", "front", "final", "--trained", "-f", "json")) == 1

    second = store(renamed, renamed.candidates()[1])  # trains on in the study that is there
    assert trainings_of(renamed) == [made, second]
    assert second.number == 1
    listed = {row["name"]: row["space"] for row in shown(cli, storage, "study", "list", "-f", "json")}
    assert listed == {"demo.trained": "trained networks of final", "final": "toy"}
    assert run(renamed, trials=3).done == 3
    write_board(renamed)
    assert renamed.study.metric_names == ["FLOPs", "energy (mJ)"]
    assert r"Its trained networks are in the study demo\.trained." in get_note(renamed.study)
    points = [tuple(sorted(trial.params.items())) for trial in renamed.study.trials]
    assert len(set(points)) == 7  # the sampler goes on from what was there
    deleted = cli("study", "delete", "final", "--yes", "--storage", storage)
    assert "autost-optuna study delete demo.trained" in deleted.stderr


@pytest.mark.parametrize("new", ["best networks", "other.trained", "final.trained"])
def test_renamed_networks_are_found_by_what_they_were_trained_of(storage, new):
    search = make(storage, "demo")
    made = store(search, search.candidates()[0])
    rename(storage, "demo.trained", new)
    assert trainings_of(studies.open_search("demo", storage)) == [made]
    store(search, search.candidates()[1])
    rename(storage, "demo", "final")
    assert len(trainings_of(studies.open_search("final", storage))) == 2
    assert sorted(studies.existing_names(storage)) == sorted(["final", new])
    assert owner_of(open_storage(storage), new) == "final"


def test_networks_follow_their_search_and_not_its_name(cli, storage):
    search = make(storage, "demo")
    made = store(search, search.candidates()[0])
    rename(storage, "demo", "final")
    other = make(storage, "demo", seed=1)
    assert trainings_of(other) == []
    assert trainings_of(studies.open_search("final", storage)) == [made]
    with pytest.raises(ValueError, match=r"study demo.trained holds networks of final; rename it, or give this search"):
        open_trained(other, create=True)
    rename(storage, "demo.trained", "final.trained")
    again = store(other, other.candidates()[0])
    assert trainings_of(other) == [again]
    assert trainings_of(studies.open_search("final", storage)) == [made]


@pytest.mark.slow
def test_of_a_search_and_its_copy_the_name_decides_and_else_no_one(cli, storage):
    search = make(storage, "demo")
    made = store(search, search.candidates()[0])
    assert cli("study", "copy", "demo", "--to", storage, "--as", "backup", "--storage", storage).exit_code == 0
    backup = studies.open_search("backup", storage)
    assert (trainings_of(search), trainings_of(backup)) == ([made], [])
    rename(storage, "demo", "final")
    final = studies.open_search("final", storage)
    for each in (final, backup):
        with pytest.raises(ValueError, match=r"the networks in demo.trained may be of backup or final; .* settles it"):
            trainings_of(each)
    warned = cli("study", "show", "final", "--storage", storage)
    assert warned.exit_code == 0
    assert "warning: the networks in demo.trained may be of backup or final" in warned.stderr
    refused = cli("train", "final", "--knee", "--storage", storage)
    assert refused.exit_code == 2
    assert refused.stderr.splitlines()[-1].startswith("error: the networks in demo.trained may be of")
    copied = cli("study", "copy", "demo.trained", "--to", storage, "--as", "final.trained", "--storage", storage)
    assert copied.exit_code == 0
    assert trainings_of(final) == [made]


def test_two_studies_of_networks_are_not_one(storage, cli):
    search = make(storage, "demo")
    store(search, search.candidates()[0])
    for name in ("a.trained", "b.trained"):
        cli("study", "copy", "demo.trained", "--to", storage, "--as", name, "--storage", storage)
    assert find_trained(search) == "demo.trained"
    delete("demo.trained", storage)
    with pytest.raises(ValueError, match=r"a.trained and b.trained hold networks of demo; rename one to demo.trained"):
        find_trained(search)


def test_a_search_made_anew_takes_what_stands_under_its_name(storage):
    """As it always did: deleted and created again, with another seed, it has other trials."""
    search = make(storage, "demo")
    made = store(search, search.candidates()[0])
    delete("demo", storage)
    assert owner_of(open_storage(storage), "demo.trained") is None
    assert trainings_of(make(storage, "demo", seed=1)) == [made]


def test_trials_of_all_states_survive_a_new_name(storage):
    search = make(storage, "demo", trials=1)
    store(search, search.candidates()[0])
    states = [TrialState.FAIL, TrialState.PRUNED, TrialState.RUNNING, TrialState.WAITING]
    for state in states:
        opened, params = search.study._storage, {} if state == TrialState.WAITING else search.study.trials[0].params
        distributions = search.study.trials[0].distributions if params else {}
        opened.create_new_trial(
            search.study._study_id, create_trial(state=state, params=params, distributions=distributions)
        )
    trainings, member = open_trained(search), search.candidates()[0]
    made = training(member.architecture, seed=7)
    with Presence(trainings.study, retires=False) as presence:
        claim = claim_of(trainings, member, presence, made)
        rename(storage, "demo", "final")
        rename(storage, "demo.trained", "final.trained")
    renamed = studies.open_search("final", storage, write=True)
    assert [trial.state for trial in renamed.study.trials] == [TrialState.COMPLETE, *states]
    left = open_trained(renamed).study.trials
    assert [(trial.number, trial.state) for trial in left] == [(0, TrialState.COMPLETE), (1, TrialState.RUNNING)]
    again = open_trained(renamed, create=True)
    with Presence(again.study, retires=False) as presence:  # its own process is there still, and trains it
        assert claim_of(again, member, presence, made).number == claim.number
