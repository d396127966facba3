"""What optuna-dashboard answers about our studies: cards in reading order, attributes in words, figures without idle digits."""

import io
import json
import shutil
from pathlib import Path
from wsgiref.util import setup_testing_defaults

import optuna
import plotly.graph_objects as go
import pytest
from makers import store
from optuna_dashboard import save_plotly_graph_object

from autost_optuna import Space, Task
from autost_optuna.delivery.board import write_board
from autost_optuna.delivery.dashboard import dashboard
from autost_optuna.front.constraints import Constraints
from autost_optuna.search.runner import run
from autost_optuna.search.settings import Plan
from autost_optuna.search.study import create, open_search
from autost_optuna.storage.artifacts import FIGURES
from autost_optuna.storage.storage import open_storage

SPACE = Space(name="toy", embed_dim=(16, 32), depth=(1, 2, 3), num_heads=(2, 4), mlp_ratio=(1, 2))
GOLDEN = Path(__file__).parent / "golden" / "0.1.0"


@pytest.fixture(scope="module")
def search(tmp_path_factory):
    place = str(tmp_path_factory.mktemp("dashboard") / "s.journal")
    found = create("demo", place, Plan(space=SPACE, task=Task.preset("digits"), constraints=Constraints(max_depth=3)))
    run(found, trials=12)
    return open_search("demo", place, write=True)


def asked(storage, path, method="GET"):
    """Status, headers and body of what the dashboard answers."""
    environ, head = {"PATH_INFO": path, "REQUEST_METHOD": method}, []
    setup_testing_defaults(environ)
    environ["wsgi.input"] = io.BytesIO()
    chunks = dashboard(open_storage(storage))(
        environ, lambda status, headers, exc_info=None: head.append((status, headers))
    )
    body = b"".join(chunks)
    getattr(chunks, "close", lambda: None)()
    return head[-1][0], dict(head[-1][1]), body


def page_of(storage, study):
    status, headers, body = asked(storage, f"/api/studies/{study._study_id}")
    assert status == "200 OK"
    assert int(headers["Content-Length"]) == len(body)
    return json.loads(body)


def words(attributes):
    return {attribute["key"]: attribute["value"] for attribute in attributes}


def test_cards_come_in_reading_order_and_those_of_others_after_them(search):
    write_board(search)
    others = [f"mine-{letter}" for letter in "hbfdaceg"]  # in a set's order ours would be among them
    for name in others:
        save_plotly_graph_object(search.study, go.Figure(), graph_object_id=name)
    page = page_of(search.storage, search.study)
    assert [card["id"] for card in page["plotly_graph_objects"]] == [
        *(name for name in FIGURES if name != "trained"), *sorted(others)
    ]  # fmt: skip


def test_a_trial_is_told_in_words_and_stored_as_it_was(search):
    before = Path(search.storage).read_bytes()
    page = page_of(search.storage, search.study)
    for trial in (*page["trials"], *page["best_trials"]):
        said = words(trial["user_attrs"])
        stored = search.study.trials[trial["number"]]
        if "candidate" not in stored.user_attrs:
            continue
        figures = stored.user_attrs["candidate"]
        assert "candidate" not in said
        assert said["architecture"].startswith(f"C {figures['architecture']['embed_dim']}, depth ")
        assert " on single images), horowitz-45nm-fp32" in said["energy"]
        assert float(said["spike rate"]) == pytest.approx(figures["mean_rate"], rel=0.005)
        assert said["rates"] == "weights at initialisation, seed 0, 4 images of digits"
        assert max(map(len, said.values())) < 100  # a line each, in a page that does not break lines
        flops, energy_mj = trial["values"]
        assert flops == stored.values[0]
        assert energy_mj == pytest.approx(stored.values[1], rel=1e-5)
        assert len(f"{energy_mj:.15g}".replace(".", "").lstrip("0").partition("e")[0]) <= 6
    assert Path(search.storage).read_bytes() == before
    columns = {column["key"]: column["sortable"] for column in page["union_user_attrs"]}
    assert columns == {
        "architecture": False, "energy": False, "M parameters": True, "spike rate": True, "without spikes": False,
        "rates": False,
    }  # fmt: skip


def test_a_study_is_told_in_words(search):
    said = words(page_of(search.storage, search.study)["user_attrs"])
    assert said["space"] == f"toy, {search.settings.space.size} architectures"
    assert said["constraints"] == "depth at most 3"
    assert said["energy convention"] == "horowitz-45nm-fp32"
    assert "torch" in said["versions"]
    assert not [name for name in said if name.startswith("autost_optuna")]


def test_a_trained_network_has_few_digits_and_no_rates(search):
    made = store(search, search.front()[0], validation_accuracy=1 / 3, test_accuracy=2 / 3, energy_mj=0.5)
    trained = optuna.load_study(study_name="demo.trained", storage=search.study._storage)
    (trial,) = trained.trials
    assert trial.values == [0.333333, 0.5]
    assert trial.user_attrs["test_accuracy"] == 0.666667
    assert (made.validation_accuracy, made.test_accuracy) == (1 / 3, 2 / 3)  # the record has all digits
    page = page_of(search.storage, trained)
    (shown,) = page["trials"]
    said = words(shown["user_attrs"])
    assert list(said)[:3] == ["architecture", "measured energy", "test accuracy (%)"]
    assert said["test accuracy (%)"] == "66.67"
    assert not {"rates", "initial_rates", "training"} & set(said)
    assert words(page["user_attrs"])["trained networks of"] == "demo"
    assert {"key": "test accuracy (%)", "sortable": True} in page["union_user_attrs"]


def test_what_is_not_ours_is_passed_on(tmp_path):
    place = str(tmp_path / "plain.journal")
    study = optuna.create_study(study_name="plain", storage=open_storage(place, create=True, write=True))
    study.set_user_attr("autost_optuna", {"space": "of a version to come"})
    trial = study.ask()
    trial.set_user_attr("candidate", {"architecture": "of a version to come"})
    trial.set_user_attr("mine", 0.12345678901)
    study.tell(trial, 1 / 3)
    page = page_of(place, study)
    assert words(page["user_attrs"]) == {"autost_optuna": '{"space": "of a version to come"}'}
    assert words(page["trials"][0]["user_attrs"]) == {
        "candidate": '{"architecture": "of a version to come"}',
        "mine": "0.123457",
    }
    assert page["trials"][0]["values"] == [0.333333]
    status, _, body = asked(place, "/api/studies/99")
    assert (status[:3], b"not found" in body) == ("404", True)
    assert json.loads(asked(place, "/api/studies")[2])["study_summaries"][0]["study_name"] == "plain"
    assert asked(place, "/dashboard")[2].startswith(b"<!")


def test_a_form_that_is_not_known_is_passed_on_as_it_is(search, monkeypatch):
    def other(*arguments, **options):
        def served(environ, start_response):
            start_response("200 OK", [("Content-Type", "application/json")])
            return [b'{"cards": []}']

        return served

    monkeypatch.setattr("optuna_dashboard.wsgi", other)
    assert asked(search.storage, f"/api/studies/{search.study._study_id}")[2] == b'{"cards": []}'


def test_studies_of_the_first_version_are_told_in_words_too(tmp_path):
    place = shutil.copy(GOLDEN / "studies.journal", tmp_path)
    storage = open_storage(place)
    for name in optuna.get_all_study_names(storage):
        study = optuna.load_study(study_name=name, storage=storage)
        page = page_of(place, study)
        assert not [name for name in words(page["user_attrs"]) if name.startswith("autost_optuna")]
        assert not {"candidate", "training"} & {column["key"] for column in page["union_user_attrs"]}
        cards = [card["id"] for card in page["plotly_graph_objects"]]
        assert cards == [name for name in FIGURES if name in cards]
        for trial in page["trials"]:
            assert "{" not in json.dumps(words(trial["user_attrs"])).strip("{}")
