import json
from dataclasses import replace
from pathlib import Path

import pytest
from makers import listed
from optuna.trial import TrialState

from autost_optuna import Architecture, Space, Task
from autost_optuna.front.convergence import StopRule
from autost_optuna.network.form import Form
from autost_optuna.search import study as studies
from autost_optuna.search.baselines import (
    BASELINES,
    MEASURED,
    MOST,
    NETWORKS,
    Baseline,
    add_baselines,
    baseline_in_words,
    baselines_of,
    caveat,
    find_networks,
    in_autost_form,
    name_of,
    networks_for,
    remove_baselines,
    sizes_of,
    standing,
    to_row,
)
from autost_optuna.search.restore import make_objective
from autost_optuna.search.runner import run
from autost_optuna.search.settings import Plan
from autost_optuna.search.study import open_search
from autost_optuna.search.summary import summarise

STUDIES = Path(__file__).parent.parent / "studies"
OWN = "C=48,depth=2,heads=4/2,ratio=2"


@pytest.fixture
def search(toy_space, toy_task, tmp_path):
    made = studies.create("s", str(tmp_path / "s.journal"), Plan(space=toy_space, task=toy_task))
    run(made, trials=20)
    return made


def known(name, number=1):
    """The sizes of a published network in AutoST's form, as 0.1.0 stored them, with figures made up by hand."""
    sizes = in_autost_form(NETWORKS[name].architecture)
    return Baseline(name=name, architecture=sizes, params=5, macs=10, energy_mj=2.03 * number)


def test_a_form_of_the_sizes_is_never_called_by_the_published_networks_name():
    others = [name for name, network in NETWORKS.items() if network.family != "autost"]
    for name in others:
        row, sizes = to_row(known(name), []), NETWORKS[name].architecture
        assert row["name"] == known(name).label == f"AutoST form, {sizes.embed_dim} \u00d7 {sizes.depth}"
        assert row["sizes_of"] == name
        assert name in row["caveat"]
        assert " mJ" not in row["caveat"]
        assert "The published network is another one and costs several times less energy" in row["caveat"]
    assert placed(20, 4.0).label == "mine"
    assert MEASURED in caveat([known("spikformer-2-384")])
    assert caveat([placed(20, 4.0)]) == ""
    assert to_row(placed(20, 4.0), [])["caveat"] is None


def test_a_published_network_itself_has_its_name_and_no_caveat():
    for name, network in NETWORKS.items():
        one = Baseline(name=name, architecture=network.architecture, params=5, macs=10, energy_mj=0.35)
        assert (one.label, one.rebuilt, one.published, caveat([one])) == (name, False, network, "")
        row = to_row(one, [])
        assert (row["name"], row["sizes_of"], row["caveat"]) == (name, None, None)


def test_all_are_those_of_the_studys_task_that_it_can_read():
    cifar = {one.name for one in networks_for(Task.preset("cifar10"))}
    assert cifar == set(find_networks(["all"], "unused", Task.preset("cifar100")))
    assert {"spikformer-4-384", "sdt-2-512", "qkformer-4-384", "maxformer-4-384", "spikingresformer-ti"} < cifar
    assert "spikingformer-8-512" in {one.name for one in networks_for(Task.preset("imagenet"))}
    # 8x8 digits are halved once, which is too little for three stages.
    assert {one.family for one in networks_for(Task.preset("digits"))} == {
        "spikformer",
        "spikingformer",
        "sdt",
        "autost",
    }


def test_baselines_that_0_1_0_stored_are_shown_as_what_they_are(search):
    row = {"name": "spikingformer-4-384", "architecture": "C=384,depth=4,heads=12,ratio=4", "params": 9_323_897}
    search.study.set_user_attr(BASELINES, [{**row, "macs": 763_785_216, "energy_mj": 0.4754}])
    (found,) = baselines_of(search)
    assert (found.label, sizes_of([found])) == ("AutoST form, 384 \u00d7 4", "spikingformer-4-384")
    with pytest.raises(ValueError, match="no baseline 'spikformer-4-384' in the study; it has spikingformer-4-384"):
        remove_baselines(search, ["spikformer-4-384"])
    remove_baselines(search, map(name_of, ["Spikingformer-4-384"]))
    assert baselines_of(search) == []


def test_what_is_said_of_the_published_network_was_measured():
    found = json.loads((STUDIES / "true_spikingformer" / "results.json").read_text())["networks"]
    ours, theirs = (found["spikingformer-4-384"][form]["energy_mj"] for form in ("autost_form", "as_published"))
    assert (
        f"spikingformer-4-384 costs {theirs:.2f} mJ as its authors build it and {ours:.2f} mJ in AutoST's form"
        in MEASURED
    )
    assert all(row["ratio"] > 2.5 for row in found.values())  # "several times less"


@pytest.mark.slow
def test_a_baseline_has_the_figures_of_the_studys_objective_outside_its_space(search, toy_space, tmp_path):
    architecture = Architecture.from_text(OWN)
    assert architecture not in toy_space
    add_baselines(search, find_networks([OWN, "spikingformer-2-384"], "unused"))
    objective = make_objective(search.settings)
    own, known = baselines_of(open_search("s", str(tmp_path / "s.journal")))
    for found, expected in ((own, architecture), (known, NETWORKS["spikingformer-2-384"].architecture)):
        candidate = objective.evaluate(expected)
        assert found.architecture == expected
        assert (found.params, found.flops, found.energy_mj) == (candidate.params, candidate.flops, candidate.energy_mj)
    assert (own.published, known.published) == (None, NETWORKS["spikingformer-2-384"])
    assert known.name == "spikingformer-2-384"  # as 0.1.0 stored it


@pytest.mark.slow
def test_a_baseline_is_never_counted_as_searched(search):
    before = summarise(search), search.candidates(), search.front(), search.course().hypervolumes, search.study.trials
    # More FLOPs than any that was searched: a member of the front, were it counted.
    add_baselines(search, {"mine": Architecture.from_text("C=64,depth=4,heads=4,ratio=4")})
    add_baselines(search, find_networks(["all"], "unused"))
    after = summarise(search), search.candidates(), search.front(), search.course().hypervolumes, search.study.trials
    assert after == before
    assert {trial.state for trial in search.study.trials} == {TrialState.COMPLETE}
    run(search, trials=2)
    assert len(search.study.trials) == 22
    assert search.course().evidence(StopRule(patience=5)).trials == 22


@pytest.mark.slow
def test_adding_twice_and_in_another_form_makes_no_duplicate(search, tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(Architecture.from_text(OWN).to_dict()))
    for sources in (
        [OWN],
        [OWN.replace("heads=4/2", " heads = 4/2")],
        ["spikformer-2-384", "spikformer-2-384"],
        [str(path)],
    ):
        for _ in range(2):
            add_baselines(search, find_networks(sources, "unused"))
    assert [one.name for one in baselines_of(search)] == [OWN, "spikformer-2-384", "mine.json"]
    remove_baselines(search, [name_of(f"elsewhere/{path.name}"), name_of(OWN.replace("C=", "C = "))])
    assert [one.name for one in baselines_of(search)] == ["spikformer-2-384"]
    with pytest.raises(ValueError, match=r"no baseline 'mine\.json' in the study; it has spikformer-2-384"):
        remove_baselines(search, ["spikformer-2-384", "mine.json"])
    assert len(baselines_of(search)) == 1
    remove_baselines(search, ["spikformer-2-384"])
    with pytest.raises(ValueError, match="it has none"):
        remove_baselines(search, ["spikformer-2-384"])


def test_what_does_not_fit_is_refused_before_anything_is_stored(search):
    wide = {"ok": Architecture.from_text(OWN), "wide": Architecture.from_text("C=4096,depth=1,heads=8,ratio=4")}
    with pytest.raises(ValueError, match="embed_dim 4096 is over the bound 2048 of task digits"):
        add_baselines(search, wide)
    with pytest.raises(ValueError, match="unprintable"):
        add_baselines(search, {"\x1b[31m.json": Architecture.from_text(OWN)})
    with pytest.raises(ValueError, match=f"{MOST + 1} baselines are over the bound {MOST}"):
        add_baselines(search, {str(number): Architecture.from_text(OWN) for number in range(MOST + 1)})
    with pytest.raises(ValueError, match="spikformer is a family; choose one of spikformer-4-256, spikformer-2-384, "):
        find_networks(["all", "spikformer"], "unused")
    with pytest.raises(ValueError, match="no network 'former'; choose one of the families spikformer, spikingformer, "):
        find_networks(["former"], "unused")
    pyramid = {
        "deep": replace(NETWORKS["qkformer-4-384"].architecture, form=Form(stem="qkformer", depths=(1, 1, 1, 1)))
    }
    with pytest.raises(
        ValueError, match="4 stages halve the image 3 times, and pooling 0101 only 2 times; use fewer stages"
    ):
        add_baselines(search, pyramid)
    assert baselines_of(search) == []


def test_all_that_may_be_stored_fits_in_a_databases_text(search):
    deep = "C=1024,depth=64,heads=" + "/".join(["16"] * 63 + ["8"]) + ",ratio=" + "/".join(["2.5"] * 63 + ["3.5"])
    names = [f"{'x' * 60}{number}" for number in range(MOST)]
    one = Baseline(
        name="x", architecture=Architecture.from_text(deep), params=10**9, macs=10**12, energy_mj=1234.123456789012
    )
    rows = [{**one_row(one), "name": name} for name in names]
    assert len(json.dumps(rows)) < 65_535  # MySQL's TEXT
    search.study.set_user_attr(BASELINES, rows)
    assert [found.architecture for found in baselines_of(search)] == [one.architecture] * MOST


def one_row(baseline):
    figures = {"params": baseline.params, "macs": baseline.macs, "energy_mj": baseline.energy_mj}
    return {"name": baseline.name, "architecture": baseline.architecture.to_text(), **figures}


def placed(flops, energy_mj):
    architecture = Architecture.from_text(OWN)
    return Baseline(name="mine", architecture=architecture, params=5, macs=flops // 2, energy_mj=energy_mj)


def test_standing_by_hand():
    members = listed([(10, 1.0), (30, 2.0), (90, 40.0)])
    # (30, 2) has 1.5 times the FLOPs at half the energy; (10, 1) has fewer FLOPs, (90, 40) costs more.
    assert [m.number for m in standing(placed(20, 4.0), members).ahead] == [1]
    assert baseline_in_words(placed(20, 4.0), members) == (
        "20 FLOPs, 4.00 mJ; dominated by 1 member: e.g. trial 1 has 1.50 times the FLOPs at 0.500 of the energy"
    )
    # Both ahead: 3 times at 0.5 before 1 times at 0.25.
    assert [m.number for m in standing(placed(10, 4.0), members).ahead] == [1, 0]
    equal = standing(placed(30, 2.0), members)
    assert (equal.ahead, equal.behind) == ((), 0)
    assert standing(placed(90, 1.0), members).behind == 3
    assert baseline_in_words(placed(90, 1.0), members).endswith(
        "non-dominated, and dominates 3 of the front's 3 members"
    )
    assert baseline_in_words(placed(90, 1.0), []).endswith("the search has no front yet")
    row = to_row(placed(10, 4.0), members)
    assert (row["dominated_by"], row["dominates"], row["dominator"], row["sizes_of"]) == (2, 0, 1, None)


def test_a_silent_baseline_is_refused(search, monkeypatch):
    monkeypatch.setattr("autost_optuna.search.evaluate.SILENT_RATE", 1.0)
    with pytest.raises(ValueError, match="baseline mine is silent on the study's images"):
        add_baselines(search, {"mine": Architecture.from_text(OWN)})
    assert baselines_of(search) == []


def test_a_trial_of_another_study_is_a_baseline(search, toy_task, tmp_path):
    storage = str(tmp_path / "s.journal")
    narrow = Space(name="n", embed_dim=(24,), depth=(1,), num_heads=(2,), mlp_ratio=(1, 2))
    other = studies.create("other", storage, Plan(space=narrow, task=toy_task))
    run(other, trials=1)
    add_baselines(search, find_networks(["other:0"], storage))
    (found,) = baselines_of(search)
    assert (found.name, found.architecture) == ("other:0", other.candidate(0).architecture)
    assert found.energy_mj == other.candidate(0).energy_mj
