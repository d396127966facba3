"""Searches of further objectives beside FLOPs and energy; and that nothing changes where there are none."""

import json
import math
from dataclasses import replace
from statistics import median

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from makers import candidate, training, uniform
from optuna.trial import TrialState

from autost_optuna import Candidate, Objective
from autost_optuna.data import RateImages, rate_images
from autost_optuna.delivery.plots.front import draw_front, front_view
from autost_optuna.delivery.plots.genes import genes_view
from autost_optuna.delivery.plots.trained import trained_view
from autost_optuna.front.constraints import Constraints
from autost_optuna.front.convergence import StopRule
from autost_optuna.front.front import Box, in_plane, nondominated
from autost_optuna.front.health import correlations
from autost_optuna.front.picks import knee, pick, picks_of, within
from autost_optuna.proxies.goals import GOALS, check_objectives, further
from autost_optuna.proxies.reuse import InitialRates
from autost_optuna.proxies.scores import measure_scores
from autost_optuna.search import objective
from autost_optuna.search import study as studies
from autost_optuna.search.fork import fork
from autost_optuna.search.runner import RunCallbacks, run
from autost_optuna.search.settings import ATTRIBUTE, Plan, Settings
from autost_optuna.search.summary import summarise

THREE = ("flops", "sahd", "energy_mj")


def scored(points, name="sahd"):
    """Candidates of (FLOPs, mJ, score)."""
    return [replace(candidate(f, e, i), scores=((name, s),)) for i, (f, e, s) in enumerate(points)]


def numbers(candidates):
    return [one.number for one in candidates]


# --- the front ---

# By FLOPs and energy 0, 1 and 3; 2 costs more than 1 for fewer FLOPs and has the best score; 4 is worse than 2 in all.
FIVE = [(10, 1.0, 5.0), (20, 2.0, 5.0), (15, 3.0, 9.0), (30, 4.0, 1.0), (12, 3.5, 8.0)]


def test_a_front_of_three_objectives_by_hand():
    members = nondominated(scored(FIVE))
    assert numbers(members) == [0, 1, 2, 3]  # by ascending energy
    assert numbers(in_plane(members)) == [0, 1, 3]
    assert numbers(nondominated(scored([(f, e, -s) for f, e, s in FIVE], "total_spikes"))) == [
        0,
        1,
        2,
        3,
    ]  # less is better
    assert numbers(nondominated(scored([(f, e, s) for f, e, s in FIVE], "total_spikes"))) == [0, 1, 3]


def test_equal_candidates_are_both_on_the_front():
    assert numbers(nondominated(scored([*FIVE, FIVE[2]]))) == [0, 1, 2, 5, 3]


def test_knee_picks_and_budget_are_those_of_flops_and_energy():
    members, plane = nondominated(scored(FIVE)), [candidate(f, e, i) for i, (f, e, _) in enumerate(FIVE)]
    front = nondominated(plane)
    assert knee(members).number == knee(front).number
    assert [numbers([one.candidate]) for one in picks_of(members)] == [
        numbers([one.candidate]) for one in picks_of(front)
    ]
    assert numbers(within(members, 3.2)) == [0, 1]
    box = Box(worst_flops=5, worst_energy_mj=5, best_flops=40, best_energy_mj=0.5)
    assert numbers(pick(members, box, 2)) == numbers(pick(front, box, 2))
    assert numbers(pick(members, box, 9)) == [0, 1, 3]


points = st.lists(st.tuples(*[st.integers(1, 6)] * 3), min_size=1, max_size=30)


@settings(deadline=None)
@given(points)
def test_a_front_of_three_objectives_is_what_pairwise_comparison_gives(found):
    def dominates(one, other):
        return one != other and one[0] >= other[0] and one[1] <= other[1] and one[2] >= other[2]

    expected = {i for i, point in enumerate(found) if not any(dominates(other, point) for other in found)}
    members = nondominated(scored(found))
    assert set(numbers(members)) == expected
    assert [one.energy_mj for one in members] == sorted(one.energy_mj for one in members)


@settings(deadline=None)
@given(points)
def test_the_plane_of_a_front_is_the_front_of_the_plane(found):
    plane = nondominated([candidate(f, e, i) for i, (f, e, _) in enumerate(found)])
    assert {(c.flops, c.energy_mj) for c in in_plane(nondominated(scored(found)))} == {
        (c.flops, c.energy_mj) for c in plane
    }
    assert in_plane(plane) == plane


def test_the_plot_of_trained_networks_shows_all_in_the_plane():
    members = [replace(one, architecture=uniform(16 * place, 1, 1)) for place, one in enumerate(scored(FIVE), 1)]
    view = trained_view("s", members, [training(members[0].architecture)])
    assert numbers(view.members) == [0, 1, 3]
    assert sorted(numbers(view.dominated)) == [2, 4]
    assert view.all_dominated == 2


def test_rank_correlations_of_a_score():
    found = correlations(scored([(1, 4.0, 1.0), (2, 3.0, 2.0), (3, 5.0, 3.0), (4, 6.0, 4.0)]))
    assert found == {"sahd": {"flops": pytest.approx(1.0), "energy_mj": pytest.approx(0.8)}}
    assert correlations([candidate(1, 1.0)]) == correlations([]) == {}


# --- names ---


def test_objectives_are_flops_energy_and_further_proxies():
    check_objectives(THREE)
    assert further(THREE) == ("sahd",)
    for names, said in (
        (("sahd", "energy_mj"), "lack flops"),
        (("flops", "sahd"), "lack energy_mj"),
        (("flops", "energy_mj", "flops"), "name one twice"),
        (("flops", "energy_mj", "accuracy"), "no proxy 'accuracy'"),
    ):
        with pytest.raises(ValueError, match=said):
            check_objectives(names)


# --- a search ---


@pytest.fixture
def storage(tmp_path):
    return str(tmp_path / "s.journal")


@pytest.fixture
def create(storage, toy_space, toy_task):
    def make(name="s", *, skip_if_exists=False, **planned):
        return studies.create(name, storage, Plan(toy_space, toy_task, **planned), skip_if_exists=skip_if_exists)

    return make


@pytest.mark.slow
def test_a_search_of_three_objectives(create, storage, toy_task):
    search = create(objectives=THREE, population=8)
    seen = []
    run(search, trials=13, callbacks=RunCallbacks(on_trial=seen.append))
    run(studies.open_search("s", storage), trials=12)
    again = studies.open_search("s", storage)
    assert again.settings == search.settings
    assert [direction.name for direction in again.study.directions] == ["MAXIMIZE", "MAXIMIZE", "MINIMIZE"]
    assert again.study.metric_names == ["FLOPs", "SAHD", "energy (mJ)"]
    for trial, one in zip(again.study.trials, again.candidates(), strict=True):
        assert trial.values == [one.flops, dict(one.scores)["sahd"], one.energy_mj]
    drawn = rate_images(toy_task)
    one = again.candidate(20)
    alone = measure_scores(one.architecture, InitialRates(toy_task, drawn.images, patterns=True), drawn.labels, THREE)
    assert {name: one.value(name) for name in THREE} == alone
    assert {tuple(trial.values) for trial in again.study.best_trials} == {
        tuple(member.value(name) for name in THREE) for member in again.front()
    }
    summary = summarise(again)
    assert summary.health.front_size == len(again.front()) >= seen[-1].front_size > 0
    assert set(summary.correlations) == {"sahd"}
    assert 0 < summary.hypervolume == again.course().hypervolumes[-1]

    whole = create("whole", objectives=THREE, population=8)
    run(whole, trials=25)
    assert [t.params for t in whole.study.trials] == [t.params for t in again.study.trials]
    assert [t.values for t in whole.study.trials] == [t.values for t in again.study.trials]

    made = fork(again, "forked", storage)
    assert (made.copied, made.reason) == (25, None)
    assert made.search.settings.objectives == THREE
    assert [t.values for t in made.search.study.trials] == [t.values for t in again.study.trials]

    with pytest.raises(ValueError, match=r"an exact front is of FLOPs and energy, .* flops, sahd, energy_mj; create"):
        studies.find_exact(again)
    with pytest.raises(ValueError, match="a stop rule watches is of FLOPs and energy"):
        run(again, trials=1, until=StopRule())

    view = front_view("s", again.candidates())
    whole_front = again.front()
    assert len(view.members) + len(view.others) == len(whole_front)
    assert [member in view.others for member in whole_front].count(True) == len(view.others) > 0
    names = [trace.name for trace in draw_front(view).data]
    assert "on the front by SAHD" in names
    assert "Pareto front of FLOPs and energy" in names
    assert genes_view("s", again.candidates()).axes[-1].label == "SAHD"


@pytest.mark.slow
def test_every_proxy_can_be_an_objective(create, storage):
    names = ("energy_mj", *(name for name in GOALS if name not in ("flops", "energy_mj")), "flops")
    search = create(objectives=names)
    run(search, trials=3)
    assert [direction.name.lower() for direction in search.study.directions] == [GOALS[n].direction for n in names]
    for trial in search.study.trials:
        assert all(map(math.isfinite, trial.values))
        assert list(trial.user_attrs["candidate"]["scores"]) == list(further(names))


def test_images_that_look_alike_are_refused_and_their_trials_pruned(toy_space, toy_task, create, monkeypatch):
    drawn = rate_images(toy_task)
    twins = RateImages(images=drawn.images[[0, 1, 0, 2]], data="twins", fingerprint="0")
    study = optuna.create_study(directions=["maximize", "minimize", "maximize"])
    study.optimize(
        Objective(toy_space, toy_task, images=twins, objectives=("flops", "energy_mj", "naswot")), n_trials=2
    )
    assert [trial.state for trial in study.trials] == [TrialState.PRUNED] * 2
    assert all("naswot is -inf" in trial.user_attrs["unscored"] for trial in study.trials)
    monkeypatch.setattr("autost_optuna.search.objective.rate_images", lambda *_, **__: twins)
    with pytest.raises(ValueError, match=r"naswot is -inf, so it cannot tell: .*; give other images"):
        create(objectives=("flops", "energy_mj", "naswot"))
    with pytest.raises(ValueError, match="the classes of the images are not known"):
        create(objectives=("flops", "energy_mj", "snip"))


@pytest.mark.slow
def test_what_is_outside_the_constraints_is_not_scored(create, storage, monkeypatch):
    plain = create("plain")
    run(plain, trials=8)
    bound = median(one.energy_mj for one in plain.candidates())
    three = ("flops", "synflow", "energy_mj")
    bounded = create("bounded", objectives=three, constraints=Constraints(max_energy_mj=bound))
    asked, measure = [], objective.measure_scores
    monkeypatch.setattr(objective, "measure_scores", lambda *given: asked.append(given[0].key) or measure(*given))
    run(bounded, trials=12)
    trials = studies.open_search("bounded", storage).study.get_trials(deepcopy=False)
    outside = [trial for trial in trials if "infeasible" in trial.user_attrs]
    assert outside
    assert len(asked) == len(trials) - len(outside)


def test_one_image_cannot_be_compared(create):
    with pytest.raises(ValueError, match="there is 1; measure on --images 2"):
        create(objectives=THREE, images=1)


# --- nothing changes where there are two ---


def test_two_objectives_are_what_they_were(toy_space, toy_task, create):
    objective = Objective(toy_space, toy_task)
    assert not objective.rates.patterns
    found = objective.evaluate(toy_space.smallest)
    assert found.scores == ()
    assert "scores" not in found.to_dict()
    assert Candidate.from_dict(found.to_dict()) == found
    study = optuna.create_study(directions=["maximize", "minimize"])
    study.optimize(objective, n_trials=1)
    stored = study.trials[0].user_attrs["candidate"]
    assert study.trials[0].values == [stored["flops"], stored["energy_mj"]]
    assert create().study.metric_names == ["FLOPs", "energy (mJ)"]


def test_the_other_figures_of_a_candidate_do_not_depend_on_further_objectives(toy_space, toy_task):
    plain = Objective(toy_space, toy_task)
    more = Objective(toy_space, toy_task, objectives=("flops", "naswot", "synflow", "energy_mj", "zen"))
    for architecture in (toy_space.smallest, toy_space.largest, toy_space.smallest):
        assert replace(more.evaluate(architecture), scores=()) == plain.evaluate(architecture)


def test_a_study_older_than_the_choice_still_opens(create, storage):
    run(create(), trials=2)
    search = studies.open_search("s", storage)
    stored = search.study.user_attrs[ATTRIBUTE]
    assert json.loads(json.dumps(stored))["objectives"] == ["flops", "energy_mj"]
    del stored["objectives"]
    search.study.set_user_attr(ATTRIBUTE, stored)
    older = studies.open_search("s", storage)
    assert older.settings == search.settings == Settings.from_dict(stored)
    assert run(older, trials=2).done == 2
    assert create(skip_if_exists=True).settings == search.settings
    with pytest.raises(ValueError, match="objectives"):
        create(skip_if_exists=True, objectives=THREE)


# --- the command line ---


@pytest.mark.slow
def test_the_command_line_searches_three_objectives(cli, tmp_path):
    (tmp_path / "toy.toml").write_text("embed_dim = [16, 32]\ndepth = [1, 2]\nnum_heads = [2, 4]\nmlp_ratio = [1, 2]\n")
    asked = [word for name in THREE for word in ("--objective", name)]
    (tmp_path / "plan.toml").write_text(f"objective = {json.dumps(THREE)}\n")
    assert cli("study", "create", "p", "--space", "toy.toml", "--task", "digits", "--plan", "plan.toml").exit_code == 0
    assert json.loads(cli("study", "show", "p", "-f", "json").stdout)["settings"]["objectives"] == list(THREE)
    done = cli("study", "create", "t", "--space", "toy.toml", "--task", "digits", "--population", 4, *asked)
    assert done.exit_code == 0, done.output
    assert cli("study", "run", "t", "--trials", 6).exit_code == 0
    said = cli("study", "show", "t").stdout
    assert "objectives   FLOPs, SAHD, energy (mJ)" in said
    assert "box of FLOPs and energy" in said
    assert " of SAHD with FLOPs" in said
    assert "exact front" not in said
    shown = json.loads(cli("study", "show", "t", "-f", "json").stdout)
    assert set(shown["correlations"]["sahd"]) == {"flops", "energy_mj"}
    assert shown["unscored"] == 0
    rows = json.loads(cli("study", "front", "t", "-f", "json").stdout)
    assert all(row["sahd"] > 0 for row in rows)
    assert "SAHD" in cli("study", "front", "t").stdout.splitlines()[0]
    assert len(json.loads(cli("study", "front", "t", "--pick", "knee", "-f", "json").stdout)) == 1
    assert cli("study", "report", "t", "-o", "t.html").exit_code == 0
    for words, why in (
        (("study", "run", "t", "--until-converged"), "give --trials N alone"),
        (("study", "exact", "t"), "create a study of these two"),
        (("study", "front", "t", "--spread"), "leave out --spread"),
        (("study", "create", "u", "--objective", "sahd"), "add --objective flops"),
    ):
        failed = cli(*words)
        assert failed.exit_code == 2
        assert why in failed.stderr
        assert failed.stderr.startswith("error: ")
        assert failed.stderr.count("\n") == 1


def test_describe_says_all_proxies(cli):
    architecture = "C=64,depth=1,heads=4,ratio=1"
    words = ("describe", architecture, "--task", "digits", "--proxies")
    found = json.loads(cli(*words, "-f", "json").stdout)
    assert list(found["proxies"]) == list(GOALS)
    assert found["proxies"]["energy_mj"] == found["energy_mj"]
    table = cli(*words).stdout
    assert all(name in table for name in GOALS)
    assert "proxies" not in json.loads(cli(*words[:-1], "-f", "json").stdout)
    refused = cli(*words, "-f", "csv")
    assert refused.exit_code == 2
    assert "leave out --checkpoint and -f csv" in refused.stderr
