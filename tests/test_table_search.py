"""Searches that take rates from a table, and the closing measurement of their fronts."""

import json
import pickle
from dataclasses import replace

import optuna
import pytest
from makers import TOY_FILE
from optuna.exceptions import UpdateFinishedTrialError

from autost_optuna import Objective
from autost_optuna.cli.selected import Selection, selected
from autost_optuna.front.candidate import MEASURED, TABLE
from autost_optuna.front.constraints import Constraints
from autost_optuna.front.front import hypervolume, joined, nondominated
from autost_optuna.search import tables
from autost_optuna.search.fork import fork
from autost_optuna.search.restore import make_objective
from autost_optuna.search.runner import Resources, RunCallbacks, run
from autost_optuna.search.study import find_exact, open_search
from autost_optuna.search.summary import reached, summarise
from autost_optuna.search.tables import stored_table
from autost_optuna.storage.transfer import copy_study
from autost_optuna.storage.view import View


@pytest.fixture
def tabled(create, tmp_path):
    return create("s", tmp_path / "j", rates="table")


def trials_of(search):
    return [(trial.params, trial.values, trial.user_attrs) for trial in search.study.get_trials(deepcopy=False)]


def test_trials_are_judged_by_the_table_and_members_of_the_front_measured(tabled):
    outcome = run(tabled, trials=40)
    assert outcome.done == 40
    assert outcome.closing.measured >= len(tabled.front()) > 2
    assert outcome.closing.left == 0
    objective = make_objective(tabled.settings)
    judged = tabled.evaluated()
    table = stored_table(tabled.study, tabled.settings.space, tabled.settings.task)
    assert {one.rates for one in judged} == {TABLE}
    for one in judged:
        assert one.energies_mj == tables_own(objective, table, one.architecture).energies_mj
    for member in tabled.front():
        assert member.rates == MEASURED
        assert member == replace(objective.measure(member.architecture), number=member.number)
    values = [trial.values[1] for trial in tabled.study.trials]
    assert values == [one.energy_mj for one in judged], "finished trials keep the values of the table"
    assert values != [one.energy_mj for one in tabled.candidates()]


def tables_own(objective, table, architecture):
    objective.tabled = table
    return objective.evaluate(architecture)


def test_a_resumed_search_is_the_same_to_the_last_digit(create, tmp_path):
    whole, parts = (create(name, tmp_path / "j", rates="table", population=8) for name in ("whole", "parts"))
    run(whole, trials=40)
    for count in (7, 13, 20):
        run(open_search("parts", parts.storage, write=True), trials=count)
    again = open_search("parts", parts.storage)
    assert trials_of(again) == trials_of(whole)
    assert again.course().hypervolumes == whole.course().hypervolumes
    assert again.front() == whole.front()
    assert len(tables.stored_measured(again.study)) > len(whole.front()), "more were members for a while"


def test_a_member_that_measures_worse_leaves_and_what_it_dominated_enters(tabled, monkeypatch):
    run(tabled, trials=40, callbacks=RunCallbacks(stopped=lambda: bool(tabled.study.trials[39:])))
    before = tabled.front()
    assert {member.rates for member in before} == {TABLE}
    poor = before[len(before) // 2].architecture
    measure = Objective.measure

    def doubled(objective, architecture):
        found = measure(objective, architecture)
        return replace(found, energy_mj=2 * found.energy_mj) if architecture == poor else found

    monkeypatch.setattr(Objective, "measure", doubled)
    seen = []
    closing = run(tabled, trials=1, callbacks=RunCallbacks(on_measured=lambda *counts: seen.append(counts))).closing
    after = tabled.front()
    assert poor not in [member.architecture for member in after]
    assert {member.rates for member in after} == {MEASURED}
    assert [done for done, _ in seen] == list(range(1, closing.measured + 1))
    assert after == nondominated(tabled.candidates())


def test_a_member_that_measures_over_a_bound_leaves(create, tmp_path, monkeypatch):
    search = create("s", tmp_path / "j", rates="table", constraints=Constraints(max_energy_mj=0.0012))
    measure = Objective.measure
    run(search, trials=30, callbacks=RunCallbacks(stopped=lambda: bool(search.study.trials[29:])))
    costly = search.front()[-1].architecture

    def over(objective, architecture):
        found = measure(objective, architecture)
        return replace(found, energy_mj=0.0013) if architecture == costly else found

    monkeypatch.setattr(Objective, "measure", over)
    run(search, trials=1)
    assert costly not in [one.architecture for one in search.candidates()]
    assert all(member.energy_mj <= 0.0012 for member in search.front())
    (number,) = search.settled()[1]
    assert search.settled()[1][number].architecture == costly
    summary = summarise(search)
    pruned = sum("infeasible" in trial.user_attrs for trial in search.study.trials)
    assert (summary.outside, summary.silent, summary.infeasible) == (0, 0, pruned + 1)
    with pytest.raises(
        ValueError, match=rf"trial {number} of study s left the front: measured, it is at 1.30 µJ, outside"
    ):
        search.candidate(number)


def test_an_interrupted_measurement_goes_on_with_the_next_run(tabled):
    count = []
    stopping = RunCallbacks(on_measured=lambda done, total: count.append(done), stopped=lambda: len(count) == 2)
    outcome = run(tabled, trials=30, callbacks=stopping)
    assert (outcome.ending, outcome.closing.measured) == ("stopped", 2)
    assert outcome.closing.left == sum(member.rates == TABLE for member in tabled.front()) > 0
    assert run(tabled, trials=1).closing.left == 0


def test_workers_judge_by_the_stored_table(create, tmp_path, warm_workers):
    search = create("s", tmp_path / "j", rates="table")
    run(search, trials=24, resources=Resources(workers=2))
    table = stored_table(search.study, search.settings.space, search.settings.task)
    objective = make_objective(search.settings)
    assert len(search.evaluated()) == 24
    for one in search.evaluated():
        assert one.energy_mj == tables_own(objective, table, one.architecture).energy_mj
    assert {member.rates for member in search.front()} == {MEASURED}


@pytest.mark.parametrize("piece", [60_000, 500])
def test_a_stored_table_is_the_measured_one(create, tmp_path, monkeypatch, piece):
    monkeypatch.setattr(tables, "PIECE", piece)
    made = []
    keep = tables.tabulated
    monkeypatch.setattr("autost_optuna.search.objective.tabulated", lambda *args: made.append(keep(*args)) or made[0])
    search = create("s", f"sqlite:///{tmp_path / 'db'}", rates="table")
    again = open_search("s", search.storage)
    stored = stored_table(again.study, again.settings.space, again.settings.task)
    assert stored.about == made[0].about
    assert stored.about.check.samples == 20
    for slot, entry in stored.table.entries.items():
        assert made[0].table.entries[slot] == {name: tuple(rates) for name, rates in entry.items()}
    drawn = list(again.settings.space.enumerate())
    assert [stored.table.rates(one) for one in drawn] == [made[0].table.rates(one) for one in drawn]


def test_copies_and_forks_keep_table_and_measurements(tabled, tmp_path):
    run(tabled, trials=30)
    to = f"sqlite:///{tmp_path / 'db'}"
    copy_study(tabled.study, to)
    copied = open_search("s", to, write=True)
    assert copied.front() == tabled.front()
    assert run(copied, trials=5).closing.left == 0
    made = fork(tabled, "f", tabled.storage)
    assert (made.copied, made.reason) == (30, None)
    assert [m.architecture for m in made.search.front()] == [m.architecture for m in tabled.front()]
    assert {member.rates for member in made.search.front()} == {MEASURED}
    run(made.search, trials=5)


def test_objective_in_plain_optuna_uses_a_table_too(toy_space, toy_task, tmp_path):
    objective = Objective(toy_space, toy_task, rates="table")
    storage = f"sqlite:///{tmp_path / 'db'}"
    study = optuna.create_study(study_name="own", storage=storage, directions=["maximize", "minimize"])
    study.optimize(objective, n_trials=4)
    search = open_search("own", storage)
    assert search.settings.rates == TABLE
    assert {one.rates for one in search.candidates()} == {TABLE}
    assert stored_table(search.study, toy_space, toy_task).table.task == toy_task


def test_what_cannot_be_is_refused_in_one_line(create, tmp_path, toy_space, toy_task, cli):
    for make in (
        lambda: create("s", tmp_path / "j", rates="tables"),
        lambda: Objective(toy_space, toy_task, rates="tables"),
    ):
        with pytest.raises(ValueError, match=r"rates 'tables' are unknown; use measured or table"):
            make()
    said = cli(
        "study", "create", "s", "--space", "families", "--task", "cifar10", "--data", "digits", "--rates", "table"
    )
    assert said.exit_code == 2
    assert said.stderr.count("\n") == 1
    assert "over the bound 20,000; offer fewer choices" in said.stderr
    assert not (tmp_path / "autost.journal").exists()


def test_the_command_line_says_how_each_energy_is_known(cli, tmp_path):
    (tmp_path / "toy.toml").write_text(TOY_FILE)
    made = cli("study", "create", "s", "--space", "toy.toml", "--task", "digits", "--rates", "table")
    assert made.exit_code == 0, made.output
    assert "\nrates: table of " in made.stdout
    assert "energies of the table differ from 20 measured random networks by " in made.stdout
    again = cli("study", "create", "s", "--space", "toy.toml", "--task", "digits", "--skip-if-exists")
    assert again.exit_code == 2
    assert "the study has rates table, this command asks for measured" in again.stderr
    ran = cli("study", "run", "s", "--trials", "30")
    assert ran.exit_code == 0, ran.output
    assert "members of the front in " in ran.stdout
    rows = json.loads(cli("study", "front", "s", "-f", "json").stdout)
    assert {row["rates"] for row in rows} == {MEASURED}
    assert "rates" in cli("study", "front", "s", "-f", "csv").stdout.splitlines()[0].split(",")
    judged = next(one for one in open_search("s", "autost.journal").candidates() if one.rates == TABLE)
    shown = cli("study", "show", "s")
    assert "\nrates        table of " in shown.stdout
    assert json.loads(cli("study", "show", "s", "-f", "json").stdout)["table"]["check"]["samples"] == 20
    drawn = cli("study", "plot", "s", "-o", "front.json")
    assert drawn.exit_code == 0, drawn.output
    figure = (tmp_path / "front.json").read_text()
    assert "; by the table of rates: " in figure
    assert " dominated and " not in figure
    assert "by the table of rates" in figure
    assert "by the study's table of rates, weights at initialisation" in judged.provenance


def test_unmeasured_members_are_marked(cli, tmp_path):
    (tmp_path / "toy.toml").write_text(TOY_FILE)
    assert cli("study", "create", "s", "--space", "toy.toml", "--task", "digits", "--rates", "table").exit_code == 0
    search = open_search("s", "autost.journal", write=True)
    run(search, trials=9, callbacks=RunCallbacks(stopped=lambda: bool(search.study.trials[8:])))
    printed = cli("study", "front", "s")
    assert printed.stdout.count("  ~") == len(search.front())
    assert "* knee. ~ energy by the table of rates. Energy at initialisation" in printed.stderr


def test_a_front_grows_by_one_as_it_would_be_found_anew(tabled):
    run(tabled, trials=40, callbacks=RunCallbacks(stopped=lambda: bool(tabled.study.trials[39:])))
    found, members = tabled.candidates(), []
    for count, candidate in enumerate([*found, *found[:5]], 1):
        members = joined(members, candidate)
        assert members == nondominated([*found, *found[:5]][:count])


def test_a_view_of_a_journal_has_all_trials(tabled):
    """Some unfinished in between."""
    study = tabled.study
    waiting = study.ask()
    run(tabled, trials=3)
    study.enqueue_trial({"embed_dim": 16})
    view = study._storage.view(study._study_id)
    assert isinstance(view, View)
    listed = study.get_trials(deepcopy=False)
    assert list(view) == listed
    assert view[1:3] == listed[1:3]
    assert view[-1] == listed[-1]
    with pytest.raises(IndexError):
        view[len(listed)]
    states = (optuna.trial.TrialState.WAITING, optuna.trial.TrialState.RUNNING)
    assert study.get_trials(states=states) == [listed[0], listed[-1]]
    study.tell(waiting, state=optuna.trial.TrialState.FAIL)
    assert list(study._storage.view(study._study_id)) == study.get_trials(deepcopy=False)


def test_what_is_trained_or_exported_is_measured_first(tabled):
    run(tabled, trials=40)
    known = next(one for one in tabled.candidates() if one.rates == TABLE)
    choice = Selection(network=None, task=None, trials=(known.number, tabled.front()[0].number))
    _, chosen, _ = selected("s", choice, tabled.storage)
    assert [one.number for one in chosen] == list(choice.trials)
    assert {one.rates for one in chosen} == {MEASURED}
    assert chosen[0] == replace(make_objective(tabled.settings).measure(known.architecture), number=known.number)


def test_a_program_that_goes_on_takes_the_table_of_its_study(toy_space, toy_task, tmp_path, monkeypatch):
    made = []
    keep = tables.tabulated
    monkeypatch.setattr("autost_optuna.search.objective.tabulated", lambda *args: made.append(1) or keep(*args))
    storage = f"sqlite:///{tmp_path / 'db'}"
    for _ in range(2):
        study = optuna.create_study(
            study_name="own", storage=storage, directions=["maximize", "minimize"], load_if_exists=True
        )
        study.optimize(Objective(toy_space, toy_task, rates="table"), n_trials=3)
    assert made == [1]
    assert len(open_search("own", storage).candidates()) == 6


def test_the_share_of_the_exact_front_is_that_of_the_measured_front(tabled):
    run(tabled, trials=20)
    exact = find_exact(tabled)
    front = hypervolume(tabled.front(), tabled.settings.box)
    assert reached(tabled).share == front / exact.hypervolume <= 1
    assert front != tabled.course().hypervolumes[-1]


def test_a_trial_that_another_process_ended_fails_once(tabled):
    study = tabled.study
    for name in "abc":  # declared by an earlier trial
        study.ask().suggest_int(name, 1, 3)
    trial, other = study.ask(), open_search("s", tabled.storage, write=True).study

    def suggest():
        with study._storage.together():
            for name in "abc":
                trial.suggest_int(name, 1, 3)
            other.tell(trial.number, state=optuna.trial.TrialState.FAIL)

    with pytest.raises(UpdateFinishedTrialError):
        suggest()
    assert study.trials[trial.number].state == optuna.trial.TrialState.FAIL
    assert study.ask().number == trial.number + 1


def test_a_storage_that_is_pickled_leaves_its_trials_behind(tabled):
    sizes = [len(pickle.dumps(tabled.study._storage))]
    run(tabled, trials=20)
    sizes.append(len(pickle.dumps(tabled.study._storage)))
    assert sizes[1] < sizes[0] + 5_000


def test_a_damaged_table_is_told_in_one_line(cli, tmp_path):
    (tmp_path / "toy.toml").write_text(TOY_FILE)
    assert cli("study", "create", "s", "--space", "toy.toml", "--task", "digits", "--rates", "table").exit_code == 0
    journal = tmp_path / "autost.journal"
    lines = [line for line in journal.read_text().splitlines(True) if "autost_optuna:table:0" not in line]
    journal.write_text("".join(lines))
    said = cli("study", "run", "s", "--trials", "1")
    assert said.exit_code == 2
    assert said.stderr == (
        "error: the table of rates of study s is damaged; autost-optuna study create NAME --rates table makes a study with a "
        "new one\n"
    )


def test_nothing_is_queued_if_a_pick_is_wrong(cli, tmp_path):
    (tmp_path / "toy.toml").write_text(TOY_FILE)
    assert cli("study", "create", "s", "--space", "toy.toml", "--task", "digits").exit_code == 0
    assert cli("study", "exact", "s", "--enqueue", "3", "--pick", "foo").exit_code == 2
    assert not open_search("s", "autost.journal").study.trials
    least = json.loads(cli("study", "exact", "s", "-f", "json").stdout)["members"][0]["energy_mj"]
    few = cli("study", "exact", "s", "--enqueue", "3", "--max-energy", str(least))
    assert "2 members queued; the next study run begins with what is queued" in few.stderr
