"""Studies of Objective in plain Optuna: every command works on them, beside parameters and objectives of a user's own."""

import csv
import gzip
import io
import json
import re
import threading
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
import torch
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FixedTrial, TrialState

from autost_optuna import DeclaredNSGAIISampler, Objective, Space, Task
from autost_optuna.data import RateImages
from autost_optuna.delivery.board import write_board
from autost_optuna.delivery.reproduce import commands_of
from autost_optuna.files import toml_text
from autost_optuna.front.constraints import Constraints
from autost_optuna.proxies.convention import Convention
from autost_optuna.search import adopt as adoption
from autost_optuna.search import study as studies
from autost_optuna.search.enrol import PROGRAM, check_trials, write_settings
from autost_optuna.search.objective import measure_box
from autost_optuna.search.runner import run
from autost_optuna.search.settings import ATTRIBUTE, Plan, Settings
from autost_optuna.search.summary import summarise

TWO = ("maximize", "minimize")
THREE = (*TWO, "minimize")
SPACE = Space(name="golden", embed_dim=(16, 24), depth=(1, 2), num_heads=(2, 4), mlp_ratio=(1, 2))
HOW = ("--space", "golden.toml", "--task", "digits")
GOLDEN = Path(__file__).parent / "golden" / "0.1.0" / "plain.journal.gz"


@pytest.fixture(autouse=True)
def space_file(tmp_path):
    """The file in HOW."""
    choices = {name: list(getattr(SPACE, name)) for name in ("embed_dim", "depth", "num_heads", "mlp_ratio")}
    (tmp_path / "golden.toml").write_text(toml_text(choices))


@pytest.fixture
def task():
    return Task.preset("digits")


@pytest.fixture
def objective(task):
    return Objective(SPACE, task)


@pytest.fixture
def file(tmp_path):
    """A storage in a journal file, and the file."""
    path = str(tmp_path / "s.journal")
    return JournalStorage(JournalFileBackend(path)), path


@pytest.fixture(params=["journal", "sqlite"])
def place(request, tmp_path, file):
    """A storage as a user of Optuna makes it, and what --storage takes for it."""
    return file if request.param == "journal" else (f"sqlite:///{tmp_path}/s.db",) * 2


@pytest.fixture
def old(tmp_path):
    """The journal that 0.1.0 wrote: `plain` has no settings, nor has `own`, with a user's own parameter and objective."""
    path = tmp_path / "old.journal"
    path.write_bytes(gzip.decompress(GOLDEN.read_bytes()))
    return str(path)


def in_memory(directions=TWO, **options):
    return optuna.create_study(directions=directions, sampler=optuna.samplers.RandomSampler(seed=0), **options)


def beside(objective):
    """A user's own objective, which calls ours."""

    def own(trial):
        rate = trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True)
        return (*objective(trial), rate)

    return own


# --- Objective writes its settings ---


@pytest.mark.slow
def test_every_command_works_on_a_study_of_objective_in_plain_optuna(cli, objective, place, tmp_path):
    storage, url = place
    sampler = optuna.samplers.NSGAIISampler(population_size=6, seed=0)
    study = optuna.create_study(study_name="plain", storage=storage, directions=TWO, sampler=sampler)
    study.optimize(objective, n_trials=12)
    assert study.metric_names == ["FLOPs", "energy (mJ)"]

    def typed(*words):
        done = cli(*words, "--storage", url)
        assert done.exit_code == 0, (words, done.output)
        assert "warning: what the dashboard shows" not in done.stderr, (words, done.stderr)
        return done.stdout

    listed = json.loads(typed("study", "list", "-f", "json"))
    assert [(row["name"], row["space"], row["data"]) for row in listed] == [("plain", "golden", "digits")]
    shown = json.loads(typed("study", "show", "plain", "-f", "json"))
    assert shown["settings"]["population"] == 6
    assert (shown["trials"], shown["own_parameters"], shown["own_objectives"]) == (12, [], {})
    front = json.loads(typed("study", "front", "plain", "-f", "json"))
    best = {tuple(trial.values) for trial in study.best_trials}
    assert {(row["flops"], row["energy_mj"]) for row in front} == best
    typed("study", "front", "plain", "--spread")
    typed("study", "plot", "plain", "--pick", 2, "-o", "front.html")
    typed("study", "plot", "plain", "--figure", "stages", "-o", "stages.html")
    typed("study", "exact", "plain")
    typed("study", "baseline", "plain", "C=24,depth=1,heads=2,ratio=1")
    number = str(front[0]["number"])
    typed("describe", f"plain:{number}")
    typed("train", "plain", "--front", 3, "--epochs", 1, "--images", 100)
    typed("study", "front", "plain", "--trained")
    typed("validate", "plain", "-f", "json")
    typed("study", "report", "plain", "-o", "report.html")
    assert "NSGAIISampler" in (tmp_path / "report.html").read_text()
    typed("study", "run", "plain", "--trials", 3)
    typed("study", "fork", "plain", "forked")
    typed("study", "run", "forked", "--trials", 2)
    typed("study", "copy", "plain", "--to", "copy.journal")
    assert len(studies.open_search("plain", "copy.journal").candidates()) == 15
    write_board(studies.open_search("plain", url, write=True))
    assert len(studies.open_search("plain", url).candidates()) == 15
    assert len(studies.open_search("forked", url).candidates()) == 17
    assert "has these settings already" in typed("study", "adopt", "plain", *HOW)
    typed("study", "delete", "plain", "--yes")


@pytest.mark.slow
def test_a_network_of_a_plain_study_is_exported(cli, objective, file):
    storage, url = file
    study = optuna.create_study(study_name="plain", storage=storage, directions=TWO)
    study.enqueue_trial({"embed_dim": 16, "depth": 1, "num_heads_01": 2, "mlp_ratio_01": 1})
    study.optimize(objective, n_trials=1)
    done = cli("export", "plain", "--knee", "-o", "bundle", "--storage", url)
    assert done.exit_code == 0, done.output


def test_the_settings_are_those_that_create_stores(objective, task, tmp_path):
    study = in_memory()
    study.optimize(objective, n_trials=2)
    made = studies.create("s", str(tmp_path / "s.journal"), Plan(space=SPACE, task=task))
    assert Settings.from_dict(study.user_attrs[ATTRIBUTE]) == made.settings
    assert study.user_attrs[PROGRAM] == {"sampler": "RandomSampler"}


def test_settings_are_written_once_and_never_into_a_study_that_has_some(objective, task, tmp_path):
    made = studies.create("s", str(tmp_path / "s.journal"), Plan(space=SPACE, task=task, population=7))
    before = made.study.user_attrs
    made.study.optimize(objective, n_trials=3)
    run(made, trials=3)
    assert made.study.user_attrs == before
    assert len(made.candidates()) == 6
    study = in_memory()
    study.optimize(objective, n_trials=1)
    before = study.user_attrs
    study.sampler = DeclaredNSGAIISampler(SPACE.distributions(), active=SPACE.active, population_size=9)
    study.optimize(Objective(replace(SPACE, name="another name"), task), n_trials=1)  # of the same choices
    assert study.user_attrs == before


OTHERS = [
    ({"seed": 3}, "the study has seed 0, the objective has 3"),
    ({"seeds": 2}, "seeds 1, the objective has 2"),
    ({"num_images": 8}, "images 4, the objective has 8"),
    ({"convention": Convention.load("memory")}, "convention horowitz-45nm-fp32, the objective has memory"),
    ({"constraints": Constraints(max_depth=1)}, "no constraint, the objective has depth at most 1"),
    ({"task": Task.preset("cifar10")}, "task digits, the objective has cifar10"),
    (
        {"space": replace(SPACE, depth=(1, 2, 3))},
        r"golden \(depth \(1, 2\)\), the objective has golden \(depth \(1, 2, 3\)\)",
    ),
]


@pytest.mark.parametrize(("other", "said"), OTHERS, ids=[next(iter(other)) for other, _ in OTHERS])
def test_a_study_of_another_objective_is_not_overwritten(objective, task, other, said):
    study = in_memory()
    study.optimize(objective, n_trials=1)
    before = study.user_attrs
    with pytest.raises(ValueError, match=said):
        study.optimize(Objective(**{"space": SPACE, "task": task, **other}), n_trials=1)
    assert study.user_attrs == before
    assert study.trials[-1].state == TrialState.FAIL
    assert not study.trials[-1].params  # nothing was suggested, let alone measured


def test_settings_of_other_packages_are_refused(objective, tmp_path, task):
    made = studies.create("s", str(tmp_path / "s.journal"), Plan(space=SPACE, task=task))
    stored = made.settings.to_dict()
    made.study.set_user_attr(ATTRIBUTE, {**stored, "versions": {**stored["versions"], "torch": "2.0.1"}})
    with pytest.raises(ValueError, match=r"made with torch 2\.0\.1, here is .*study fork"):
        made.study.optimize(objective, n_trials=1)


def test_writing_the_same_settings_twice_is_harmless(objective, task):
    """As two workers do whose first trials begin at once."""
    study = in_memory()
    other = optuna.load_study(study_name=study.study_name, storage=study._storage)
    for one in (study, other):
        write_settings(one, objective.settings(), "RandomSampler")
    before = study.user_attrs
    threads = [threading.Thread(target=objective.adopt, args=(one,)) for one in (study, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert study.user_attrs == before
    study.optimize(objective, n_trials=1)
    other.optimize(Objective(SPACE, task), n_trials=1)
    assert study.user_attrs == before


def test_fixed_and_frozen_trials_have_no_study(objective):
    point = {"embed_dim": 16, "depth": 1, "num_heads_01": 2, "mlp_ratio_01": 1}
    values = objective(FixedTrial(point))
    study = in_memory()
    study.enqueue_trial(point)
    study.optimize(objective, n_trials=1)
    assert objective(study.trials[0]) == values == tuple(study.trials[0].values)


def test_a_study_on_silent_images_gets_no_settings_and_its_trials_say_why(task, caplog):
    blank = RateImages(images=torch.zeros(2, *task.input_shape), data="blank", fingerprint="0")
    study = in_memory()
    optuna.logging.enable_propagation()
    try:
        study.optimize(Objective(SPACE, task, images=blank), n_trials=3)
    finally:
        optuna.logging.disable_propagation()
    said = [record.message for record in caplog.records if "cannot read study" in record.message]
    assert len(said) == 1
    assert "the network is silent on these images" in said[0]
    assert [trial.state for trial in study.trials] == [TrialState.PRUNED] * 3
    assert ATTRIBUTE not in study.user_attrs


def test_a_study_on_images_that_only_its_program_has_is_read_and_not_run(cli, task, file):
    storage, url = file
    images = RateImages(images=torch.rand(2, *task.input_shape), data="mine", fingerprint="0")
    study = optuna.create_study(study_name="mine", storage=storage, directions=TWO)
    study.optimize(Objective(SPACE, task, images=images), n_trials=4)
    assert cli("study", "show", "mine", "--storage", url).exit_code == 0
    assert cli("study", "plot", "mine", "-o", "front.html", "--storage", url).exit_code == 0
    assert cli("study", "report", "mine", "-o", "report.html", "--storage", url).exit_code == 0
    refused = cli("study", "run", "mine", "--trials", 2, "--storage", url)
    assert refused.exit_code == 2
    assert refused.stderr == (
        "error: the study was measured on images that its program brought ('mine'), and no command has these; go on in that "
        "program\n"
    )


@pytest.mark.slow
def test_the_example_in_the_readme_makes_a_study_for_every_command(cli):
    readme = (Path(__file__).parent.parent / "README.md").read_text()
    example = next(block for block in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if "Objective" in block)
    exec(example.replace("n_trials=100", "n_trials=2"), {})  # what the README shows, in the folder of `cli`
    command = re.search(r"`autost-optuna (study show mine [^`]*)`", readme)[1]
    assert cli(*command.split()).stdout.startswith("study mine: space tiny")


# --- directions ---


@pytest.mark.parametrize(
    "directions", [("minimize", "maximize"), ("maximize",), ("minimize",), ("maximize", "maximize"), THREE]
)
def test_other_directions_are_refused_before_anything_is_measured(objective, directions):
    study = in_memory(directions)
    with pytest.raises(
        ValueError, match=r"FLOPs, energy \(mJ\), which need maximize, minimize\. Create the study with"
    ):
        study.optimize(objective, n_trials=2)
    assert len(study.trials) == 1
    assert not study.trials[0].params
    assert not study.user_attrs
    assert not objective._known


def test_further_objectives_need_their_own_directions(task):
    three = Objective(SPACE, task, objectives=("flops", "sahd", "energy_mj"))
    with pytest.raises(ValueError, match=r"FLOPs, SAHD, energy \(mJ\), which need maximize, maximize, minimize"):
        in_memory(THREE).optimize(three, n_trials=1)
    study = in_memory(("maximize", "maximize", "minimize"))
    study.optimize(three, n_trials=1)
    assert study.metric_names == ["FLOPs", "SAHD", "energy (mJ)"]


# --- parameters and objectives of a user's own ---


@pytest.mark.slow
def test_own_parameters_and_objectives_stay_and_are_listed(cli, objective, place):
    storage, url = place
    sampler = optuna.samplers.RandomSampler(seed=0)
    study = optuna.create_study(study_name="own", storage=storage, directions=THREE, sampler=sampler)
    with pytest.warns(optuna.exceptions.ExperimentalWarning):
        study.set_metric_names(["flops", "energy", "rate"])  # the user's names stay
    study.optimize(beside(objective), n_trials=8)
    study.optimize(lambda trial: (0.0, 1e9, 0.0), n_trials=1)  # another program's trial
    assert study.metric_names == ["flops", "energy", "rate"]
    text = cli("study", "show", "own", "--storage", url).stdout
    assert "your own     rate (minimize), parameter learning_rate\n" in text
    shown = json.loads(cli("study", "show", "own", "-f", "json", "--storage", url).stdout)
    assert shown["own_parameters"] == ["learning_rate"]
    assert shown["own_objectives"] == {"rate": "minimize"}
    assert shown["trials"] == 8
    rows = json.loads(cli("study", "front", "own", "-f", "json", "--storage", url).stdout)
    for row in rows:
        trial = study.trials[row["number"]]
        assert [row["flops"], row["energy_mj"], row["values_rate"]] == trial.values
        assert row["params_learning_rate"] == trial.params["learning_rate"] == row["values_rate"]
    flat = list(csv.DictReader(io.StringIO(cli("study", "front", "own", "-f", "csv", "--storage", url).stdout)))
    assert [float(row["params_learning_rate"]) for row in flat] == [row["params_learning_rate"] for row in rows]
    columns = cli("study", "front", "own", "--storage", url).stdout.splitlines()[0].split()
    assert columns == ["trial", "C", "depth", "M", "params", "GFLOPs", "mJ", "learning_rate", "rate", "heads", "ratio"]


def test_a_study_with_own_objectives_goes_on_without_them_in_a_fork(cli, objective, file):
    storage, url = file
    study = optuna.create_study(study_name="own", storage=storage, directions=THREE)
    study.optimize(beside(objective), n_trials=5)
    refused = cli("study", "run", "own", "--trials", 2, "--storage", url)
    assert refused.exit_code == 2
    assert refused.stderr == (
        "error: study own has objectives of your own beside flops and energy_mj, which only your program can compute; run "
        "that, or go on without them in a new study: autost-optuna study fork own own2\n"
    )
    assert len(study.trials) == 5
    done = cli("study", "fork", "own", "own2", "--storage", url)
    assert "study own2: 5 trials of own taken over" in done.stdout, done.output
    assert cli("study", "run", "own2", "--trials", 2, "--storage", url).exit_code == 0
    forked = studies.open_search("own2", url)
    assert [len(trial.values) for trial in forked.study.trials] == [2] * 7
    assert [t.params for t in forked.study.trials[:5]] == [t.params for t in study.trials]


def test_a_report_does_not_say_that_study_run_made_the_trials(objective, file):
    storage, url = file
    study = optuna.create_study(study_name="s", storage=storage, directions=TWO, sampler=optuna.samplers.TPESampler())
    study.optimize(objective, n_trials=3)
    commands = commands_of(studies.open_search("s", url), [])
    assert commands[1] == "# here the user's own program ran 3 trials of Objective in Optuna with TPESampler"


# --- studies of 0.1.0 ---


@pytest.mark.slow
def test_a_study_of_an_older_version_is_adopted(cli, old, task):
    where = ("--storage", old)
    refused = cli("study", "show", "plain", *where)
    assert refused.exit_code == 2
    assert "autost-optuna study adopt plain" in refused.stderr
    assert refused.stderr.count("\n") == 1
    before = [trial.values for trial in optuna.load_study(study_name="plain", storage=journal(old)).trials]
    done = cli("study", "adopt", "plain", *HOW, "--population", 6, *where)
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("study plain adopted: 11 candidates, space golden (40 architectures), task digits")
    assert "1 complete trial outside the space: left out of the front" in done.stderr  # 0.1.0 measured its width of 32
    search = studies.open_search("plain", old)
    assert [trial.values for trial in search.study.trials] == before
    assert search.settings == studies.create("new", old, Plan(space=SPACE, task=task, population=6)).settings
    assert search.settings.box == measure_box(Objective(SPACE, task))
    summary = summarise(search)
    assert (summary.health.trials, summary.outside) == (11, 1)
    assert cli("study", "run", "plain", "--trials", 2, *where).exit_code == 0
    again = cli("study", "adopt", "plain", *HOW, *where)
    assert again.stdout.startswith("study plain has these settings already: 13 candidates")
    other = cli("study", "adopt", "plain", *HOW, "--seed", 1, *where)
    assert other.exit_code == 2
    assert "the study has seed 0, the objective has 1" in other.stderr


def journal(path):
    return JournalStorage(JournalFileBackend(path))


def test_an_older_study_can_be_deleted_as_it_is(cli, old):
    assert cli("study", "delete", "plain", "--yes", "--storage", old).stdout == "deleted study plain with 12 trials\n"
    assert studies.existing_names(old) == ["own"]


def test_an_older_study_with_own_parts_is_adopted_and_keeps_them(cli, old):
    done = cli("study", "adopt", "own", *HOW, "--storage", old)
    assert done.exit_code == 0, done.output
    assert (
        "your own     Objective 2 (minimize), parameter learning_rate"
        in cli("study", "show", "own", "--storage", old).stdout
    )
    assert studies.open_search("own", old).study.metric_names == ["FLOPs", "energy (mJ)", "Objective 2"]


def test_objective_adopts_an_older_study_that_it_goes_on_with(objective, old, task):
    study = optuna.load_study(study_name="plain", storage=journal(old))
    with pytest.raises(ValueError, match="trial 0 was measured with seed 0, not 1; use the same"):
        study.optimize(Objective(SPACE, task, seed=1), n_trials=1)
    assert not study.user_attrs
    study.optimize(objective, n_trials=1)
    assert len(studies.open_search("plain", old).candidates()) == 12


WRONG = [
    (["--images", 8], "trial 0 was measured with images 4, not 8; use the same"),
    (["--seed", 1], "trial 0 was measured with seed 0, not 1; use the same"),
    (["--seeds", 2], "trial 0 was measured with seeds 1, not 2; use the same"),
    (["--energy", "memory"], "measured with convention horowitz-45nm-fp32, not memory"),
    (["--task", "nmnist"], "measured with data digits, not digits-saccades"),
    (["--task", "cifar10"], "FLOPs, it had 3,795,936: the task is not what it was measured with"),
    (
        ["--space", "tiny"],
        "trial 0 drew embed_dim from 16 to 24 in steps of 8, the space tiny offers 192 to 384 in steps of 64",
    ),
    (
        ["--uniform"],
        "trial 0 has no parameter 'num_heads' of the space golden; give the space that it was made in, uniform if",
    ),
    (["--max-depth", 2], "trial 0 was run without these settings' bound max_depth"),
    (
        ["--objective", "flops", "--objective", "energy_mj", "--objective", "zen"],
        "has the directions maximize, minimize;",
    ),
    (["--population", 1], "population 1 is out of range"),
]


@pytest.mark.parametrize(("options", "said"), WRONG, ids=[" ".join(map(str, options)) for options, _ in WRONG])
def test_options_that_the_trials_contradict_are_refused_in_one_line(cli, old, options, said):
    before = Path(old).read_bytes()
    done = cli("study", "adopt", "plain", *HOW, *options, "--storage", old)
    assert done.exit_code == 2
    assert said in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert Path(old).read_bytes() == before


def test_energies_that_do_not_hold_here_are_refused(cli, old):
    """Other images of the same name and number leave no other trace."""
    study = optuna.load_study(study_name="plain", storage=journal(old))
    moved = optuna.create_study(study_name="moved", storage=journal(old), directions=TWO)
    for trial in study.trials[1:]:
        candidate = {**trial.user_attrs["candidate"]}
        candidate["energy_mj"] *= 1.001
        values = [trial.values[0], candidate["energy_mj"]]
        moved.add_trial(optuna.trial.create_trial(**parts(trial), values=values, user_attrs={"candidate": candidate}))
    done = cli("study", "adopt", "moved", *HOW, "--storage", old)
    assert done.exit_code == 2
    assert "trial 0 gives 0." in done.stderr
    assert "the images, the prices or the packages are not what it was measured with; use the same" in done.stderr


def parts(trial):
    return {"params": trial.params, "distributions": trial.distributions}


def test_what_no_objective_of_ours_made_is_refused(cli, old):
    storage = journal(old)

    def refused(name):
        done = cli("study", "adopt", name, *HOW, "--storage", old)
        assert done.exit_code == 2, done.output
        assert done.stderr.count("\n") == 1
        assert not optuna.load_study(study_name=name, storage=storage).user_attrs
        return done.stderr

    optuna.create_study(study_name="empty", storage=storage, directions=TWO)
    assert "has no candidate to adopt: none of its 0 complete trials was made by autost_optuna.Objective" in refused(
        "empty"
    )
    foreign = optuna.create_study(study_name="foreign", storage=storage, directions=TWO)
    foreign.optimize(lambda trial: (1.0, 2.0), n_trials=3)
    assert "none of its 3 complete trials" in refused("foreign")
    like = optuna.create_study(study_name="like", storage=storage, directions=TWO)
    like.add_trial(optuna.trial.create_trial(values=[1.0, 2.0], user_attrs={"candidate": "Ada"}))
    assert "the user attribute 'candidate' of trial 0 was not written by Objective" in refused("like")
    plain = optuna.load_study(study_name="plain", storage=storage).trials[1]
    turned = optuna.create_study(study_name="turned", storage=storage, directions=["minimize", "maximize"])
    turned.add_trial(plain)
    assert "has the directions minimize, maximize" in refused("turned")
    scaled = optuna.create_study(study_name="scaled", storage=storage, directions=TWO)
    scaled.add_trial(optuna.trial.create_trial(**parts(plain), values=[1.0, 2.0], user_attrs=plain.user_attrs))
    assert "trial 0 has FLOPs 1, its candidate" in refused("scaled")
    swapped = optuna.create_study(study_name="swapped", storage=storage, directions=TWO)
    swapped.add_trial(
        optuna.trial.create_trial(
            values=plain.values,
            params={**plain.params, "embed_dim": 40 - plain.params["embed_dim"]},
            distributions=plain.distributions,
            user_attrs=plain.user_attrs,
        )
    )
    assert "trial 0 has the parameters of C=" in refused("swapped")


def test_a_study_of_trained_networks_is_not_adopted(old, objective):
    study = optuna.create_study(study_name="s.trained", storage=journal(old), directions=TWO)
    study.set_user_attr(studies.TRAINED, {})
    with pytest.raises(ValueError, match="holds trained networks"):
        adoption.adopt("s.trained", old, objective, population=50)


def test_constraints_and_further_objectives_are_compared(task):
    bounds = Constraints(max_depth=1, max_energy_mj=1.0)
    names = ("flops", "energy_mj", "params")
    made, study = (
        Objective(SPACE, task, constraints=bounds, objectives=names),
        in_memory(("maximize", "minimize", "maximize")),
    )
    study.optimize(made, n_trials=8)
    states = {trial.state for trial in study.trials}
    assert states == {TrialState.COMPLETE, TrialState.PRUNED}
    check_trials(study, made.shared, made.evaluate)
    for options, said in (
        ({"objectives": names}, "with a bound max_depth that these settings lack"),
        (
            {"objectives": names, "constraints": Constraints(max_depth=2, max_energy_mj=1.0)},
            "these settings' bound max_depth",
        ),
        ({"constraints": bounds}, "has params beside FLOPs and energy, not nothing; use the same objectives"),
    ):
        other = Objective(SPACE, task, **options)
        with pytest.raises(ValueError, match=said):
            check_trials(study, other.shared, other.evaluate)
