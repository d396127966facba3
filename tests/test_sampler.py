import math
import pickle
import warnings

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseGASampler
from optuna.samplers.nsgaii._elite_population_selection_strategy import _calc_crowding_distance
from optuna.study._multi_objective import _fast_non_domination_rank
from optuna.trial import TrialState, create_trial
from warm import start

from autost_optuna import Space
from autost_optuna.search.archive import generator
from autost_optuna.search.genes import Genes, choices_of
from autost_optuna.search.sampler import DeclaredNSGAIISampler, SpaceExhausted
from autost_optuna.search.selection import Individual, crowding_distances, dominates, nondomination_ranks, select

FLAT = {"x": IntDistribution(0, 9), "y": IntDistribution(0, 9), "kind": CategoricalDistribution(("b", "a", "c"))}
DEEP = {"depth": IntDistribution(1, 3), **{f"gene_{block}": IntDistribution(0, 2) for block in (1, 2, 3)}}


def asked(values):
    return {"depth", *(f"gene_{block}" for block in range(1, values["depth"] + 1))}


def flat(trial):
    x, y = trial.suggest_int("x", 0, 9), trial.suggest_int("y", 0, 9)
    kind = trial.suggest_categorical("kind", ("b", "a", "c"))
    return x + y, x**2 + (9 - y) ** 2 + ord(kind)


def deep(trial):
    genes = [trial.suggest_int(f"gene_{b}", 0, 2) for b in range(1, trial.suggest_int("depth", 1, 3) + 1)]
    return sum(genes) + len(genes), sum(g * g for g in genes) + 1


def study_of(space, *, storage=None, name=None, **options):
    options = {"seed": 0, "population_size": 8, **options}
    return optuna.create_study(
        directions=["maximize", "minimize"],
        storage=storage,
        study_name=name,
        load_if_exists=True,
        sampler=DeclaredNSGAIISampler(space, **options),
    )


def points(study):
    return [tuple(sorted(trial.params.items())) for trial in study.trials if trial.params]


def test_it_is_a_genetic_algorithm_of_optunas_and_needs_nothing_else():
    study = study_of(FLAT)
    assert isinstance(study.sampler, BaseGASampler)
    study.optimize(flat, n_trials=40)
    assert len(set(points(study))) == 40
    trial = study.trials[20]
    assert study.sampler.population_size == 8
    assert study.sampler.get_trial_generation(study, trial) == 13  # 8 first, then one a fifth of 8: 1 + (20 - 8)
    assert study.sampler.get_parent_population(study, 0) == []
    parents = study.sampler.get_parent_population(study, 13)
    assert len(parents) == 8
    assert max(parent.number for parent in parents) < 20
    assert [t.number for t in study.sampler.get_population(study, 0)] == list(range(8))
    assert [t.number for t in study.sampler.get_population(study, 13)] == [20]
    front = {t.number for t in optuna_front(study.trials[:20])}
    assert {parent.number for parent in parents} >= front or len(front) > 8


def optuna_front(trials):
    values = [(-t.values[0], t.values[1]) for t in trials]
    return [t for t, v in zip(trials, values, strict=True) if not any(dominates(w, v) for w in values)]


POINTS = st.integers(1, 3).flatmap(
    lambda axes: st.lists(st.tuples(*[st.integers(0, 6).map(float)] * axes), min_size=1, max_size=30)
)


@given(POINTS)
def test_ranks_equal_optunas(values):
    assert nondomination_ranks(values) == _fast_non_domination_rank(np.array(values)).tolist()


@given(st.lists(st.tuples(*[st.integers(0, 50).map(float)] * 2), min_size=1, max_size=20, unique_by=lambda v: v[0]))
def test_crowding_equals_optunas(values):
    values = [(x, -x) for x, _ in values]  # a front, without ties, in which the order of equals would count
    trials = [create_trial(values=list(v)) for v in values]
    for number, trial in enumerate(trials):
        trial.number = number
    theirs = _calc_crowding_distance(list(trials))
    assert crowding_distances(values) == pytest.approx([theirs[number] for number in range(len(values))])


def test_selection_by_hand():
    # Two fronts: (0, 4), (1, 2), (4, 0) and (2, 4), (5, 5); then two that are infeasible, the less so first.
    values = [(5, 5), (1, 2), (4, 0), (2, 4), (0, 4), (), ()]
    violations = [0, 0, 0, 0, 0, 0.5, 0.1]
    pool = [
        Individual(number=n, genome=(n,), values=v, violation=w)
        for n, (v, w) in enumerate(zip(values, violations, strict=True))
    ]
    chosen, standing = select(pool, 6)
    assert [individual.number for individual in chosen] == [2, 4, 1, 3, 0, 6]
    assert [standing[n][0] for n in (2, 4, 1, 3, 0, 6)] == [0, 0, 0, 1, 2, 3]
    assert standing[4][1] == math.inf
    assert standing[1][1] == pytest.approx(4 / 4 + 4 / 4)  # (4 - 0) / 4 in the one axis, (4 - 0) / 4 in the other


def test_a_mutation_goes_near_by_where_there_is_an_order():
    genes = Genes({"wide": tuple(range(101)), "kind": ("b", "a", "c", "d"), "one": (7,)})
    assert genes.ordered == (True, False, True)
    rng = generator(0, 0)
    steps = [genes.step(rng, 0, 50) - 50 for _ in range(4000)]
    assert 0 not in steps
    assert abs(sum(step > 0 for step in steps) / 4000 - 0.5) < 0.03
    # P(width < w) = 1 - (1 - w)^21 of polynomial mutation with index 20
    assert abs(sum(abs(step) <= 5 for step in steps) / 4000 - (1 - (1 - 0.055) ** 21)) < 0.03
    assert {genes.step(rng, 0, 0) for _ in range(200)} <= set(range(1, 101))
    assert {genes.step(rng, 0, 100) for _ in range(200)} <= set(range(100))
    others = [genes.step(rng, 1, 2) for _ in range(3000)]
    assert set(others) == {0, 1, 3}
    assert all(abs(others.count(other) / 3000 - 1 / 3) < 0.04 for other in (0, 1, 3))
    assert genes.step(rng, 2, 0) == 0


def test_a_depth_of_one_does_not_end_the_crossover_of_deeper_blocks():
    study = study_of(DEEP, active=asked)
    study.enqueue_trial({"depth": 1})
    study.optimize(deep, n_trials=12)
    assert len(study.trials[0].params) == 2
    last = study.trials[-1]
    assert study.sampler.infer_relative_search_space(study, last) == DEEP
    assert set(last.params) == asked(last.params)


def test_dormant_genes_are_inherited():
    """A gene that is never expressed has a value of an earlier trial, but for the mutations."""
    space = {f"x{i}": IntDistribution(0, 9) for i in range(8)} | {"dormant": IntDistribution(0, 10**5)}
    study = study_of(space, active=lambda values: {f"x{i}" for i in range(8)})
    study.optimize(lambda t: (sum(t.suggest_int(f"x{i}", 0, 9) for i in range(8)), t.params["x0"]), n_trials=208)
    genomes = [trial.system_attrs["DeclaredNSGAIISampler:genome"] for trial in study.trials]
    dormant = [genome[-1] for genome in genomes]
    inherited = sum(gene in dormant[:number] for number, gene in enumerate(dormant))
    assert 0.8 < inherited / 200 < 0.95  # 1 - 1/8, the share that is not mutated; random ones would hardly ever be
    assert all("dormant" not in trial.params for trial in study.trials)


def test_every_point_of_an_exhausted_space_is_evaluated_once_and_the_study_ends():
    study = study_of(DEEP, active=asked)
    study.optimize(deep, n_trials=1000)
    assert len(study.trials) == 3 + 9 + 27
    assert len(set(points(study))) == 39
    assert study.sampler.exhausted(study)
    trial = study.ask()
    with pytest.raises(SpaceExhausted, match="the space is exhausted"):
        trial.suggest_int("depth", 1, 3)
    uniform = Space.load("tiny", uniform=True)
    study = study_of(uniform.distributions(), active=uniform.active)
    study.optimize(lambda trial: (uniform.suggest(trial).embed_dim, trial.number), n_trials=10**6)
    assert len(set(points(study))) == len(study.trials) == uniform.size == 240


def test_a_failed_point_may_be_drawn_again_and_a_pruned_one_not():
    study = study_of({"x": IntDistribution(0, 3)})

    def objective(trial):
        x = trial.suggest_int("x", 0, 3)
        if trial.number == 1:
            raise OSError("a full disk")
        if trial.number == 2:
            raise optuna.TrialPruned
        return x, x

    study.optimize(objective, n_trials=100, catch=(OSError,))
    states = [trial.state for trial in study.trials]
    assert states.count(TrialState.FAIL) == 1
    assert len(study.trials) == 5
    assert sorted(trial.params["x"] for trial in study.trials if trial.state != TrialState.FAIL) == [0, 1, 2, 3]


@pytest.mark.parametrize("space", [FLAT, DEEP], ids=["flat", "deep"])
def test_an_interrupted_run_equals_an_uninterrupted_one(space, tmp_path):
    objective, active = (flat, None) if space is FLAT else (deep, asked)
    whole = study_of(space, active=active)
    whole.optimize(objective, n_trials=35)
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(tmp_path / "j")))
    for trials in (3, 14, 1, 17):
        study_of(space, active=active, storage=storage, name="s").optimize(objective, n_trials=trials)
    resumed = optuna.load_study(study_name="s", storage=storage)
    assert [t.params for t in resumed.trials] == [t.params for t in whole.trials]
    other = study_of(space, active=active, seed=1)
    other.optimize(objective, n_trials=35)
    assert [t.params for t in other.trials] != [t.params for t in whole.trials]


def test_workers_of_one_seed_that_ask_before_others_tell_do_not_repeat_each_other():
    storage = optuna.storages.InMemoryStorage()
    workers = [study_of(FLAT, storage=storage, name="s") for _ in range(4)]
    for _ in range(60):
        trials = [worker.ask() for worker in workers]
        values = [flat(trial) for trial in trials]
        for worker, trial, value in zip(workers, trials, values, strict=True):
            worker.tell(trial, value)
    assert len(set(points(workers[0]))) == 240


def test_a_point_that_another_worker_wrote_down_meanwhile_is_given_up(monkeypatch):
    """Both choose before either looks: the other one's is written between our choice and our look."""
    storage = optuna.storages.InMemoryStorage()
    ours, theirs = (study_of(FLAT, storage=storage, name="s") for _ in range(2))
    other = theirs.ask()
    written = []
    real = storage.set_trial_system_attr

    def write(trial_id, key, value):
        real(trial_id, key, value)
        if not written and trial_id != other._trial_id:
            written.append(value)
            real(other._trial_id, key, value)

    monkeypatch.setattr(storage, "set_trial_system_attr", write)
    trial = ours.ask()
    trial.suggest_int("x", 0, 9)
    assert ours.trials[trial.number].system_attrs["DeclaredNSGAIISampler:genome"] != written[0]


def work(journal):
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    backend = optuna.storages.journal.JournalFileBackend(journal)
    study_of(FLAT, storage=optuna.storages.JournalStorage(backend), name="s").optimize(flat, n_trials=40)


@pytest.mark.slow
@pytest.mark.process
def test_processes_of_one_seed_do_not_repeat_each_other(tmp_path):
    workers = [start(work, str(tmp_path / "j")) for _ in range(4)]
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0] * 4
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(tmp_path / "j")))
    study = optuna.load_study(study_name="s", storage=storage)
    assert len(study.trials) == 160
    assert len(set(points(study))) == 160


def test_added_and_enqueued_trials_become_parents():
    earlier = study_of(FLAT, seed=5)
    earlier.optimize(flat, n_trials=30)
    study = study_of(FLAT)
    study.add_trials(earlier.trials)
    study.enqueue_trial({"x": 9, "y": 9, "kind": "a"})
    outside = create_trial(
        params={"x": 50, "y": 0, "kind": "a"}, distributions={**FLAT, "x": IntDistribution(0, 99)}, values=[999, -999]
    )
    study.add_trial(outside)
    study.optimize(flat, n_trials=10)
    assert study.trials[30].params == {"x": 9, "y": 9, "kind": "a"}
    assert len(set(points(study))) == 30 + 1 + 10
    last = study.trials[-1]
    generation = study.sampler.get_trial_generation(study, last)
    assert generation == 1 + (39 - 8)  # 39 came before it that lie in the space
    parents = study.sampler.get_parent_population(study, generation)
    assert outside.params not in [parent.params for parent in parents]
    assert [parent.number for parent in parents if parent.number < 30] != []


def test_a_partly_fixed_trial_takes_the_fixed_genes_and_a_queued_point_is_not_drawn():
    study = study_of({"x": IntDistribution(0, 3), "y": IntDistribution(0, 1)})

    def objective(trial):
        return trial.suggest_int("x", 0, 3), trial.suggest_int("y", 0, 1)

    study.enqueue_trial({"x": 2})
    study.optimize(objective, n_trials=1)
    assert study.trials[0].params["x"] == 2
    for y in (0, 1):
        study.enqueue_trial({"x": 3, "y": y})
    popped = study._storage.get_trial(study.ask()._trial_id)
    space = study.sampler.infer_relative_search_space(study, popped)
    assert study.sampler.sample_relative(study, popped, space) == {"x": 3, "y": 0}
    study.optimize(objective, n_trials=100)
    found = [tuple(t.params.values()) for t in study.trials if t.state == TrialState.COMPLETE]
    assert len(set(found)) == len(found) == 7


def test_a_queued_trial_without_a_free_completion_repeats_one_instead_of_waiting_for_ever():
    study = study_of({"x": IntDistribution(0, 3), "y": IntDistribution(0, 1)})
    for y in (0, 1):
        study.enqueue_trial({"x": 3, "y": y})
    study.enqueue_trial({"x": 3})
    study.enqueue_trial({"x": 3, "y": 0})
    study.optimize(lambda trial: (trial.suggest_int("x", 0, 3), trial.suggest_int("y", 0, 1)), n_trials=4)
    assert [trial.params["x"] for trial in study.trials] == [3] * 4


def fixing(study, **values):
    """The study's sampler in a PartialFixedSampler, as a user sets it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.sampler = optuna.samplers.PartialFixedSampler(values, study.sampler)


def test_a_partial_fixed_sampler_evaluates_each_of_its_points_once_and_leaves_the_sampler_whole():
    study = study_of(FLAT)
    whole = study.sampler
    study.optimize(flat, n_trials=20)
    fixing(study, y=3)
    study.optimize(flat, n_trials=200)
    fixed = [trial for trial in study.trials if trial.params["y"] == 3]
    assert {trial.state for trial in study.trials} == {TrialState.COMPLETE}
    assert len(set(points(study))) == len(study.trials) <= 20 + len(fixed)
    assert len(fixed) == 30  # ten of x, three kinds; that they are exhausted ended the study
    assert {trial.params["y"] for trial in study.trials[20:]} == {3}
    with pytest.raises(SpaceExhausted, match="every point with y=3 is evaluated"):
        study.ask().suggest_int("x", 0, 9)
    study.sampler = whole
    assert whole.infer_relative_search_space(study, study.trials[0]) == FLAT
    study.optimize(flat, n_trials=1000)
    assert len(set(points(study))) == 300


def test_a_fixed_gene_may_be_dormant_or_decide_and_fixing_may_be_nested():
    study = study_of(DEEP, active=asked)
    fixing(study, gene_2=2)
    study.optimize(deep, n_trials=1000)
    assert len(set(points(study))) == len(study.trials) == 3 + 3 + 9
    fixing(study, depth=3, gene_2=1)  # the outer one's word counts
    study.enqueue_trial({"gene_2": 0})  # and a queued trial's before both
    study.optimize(deep, n_trials=1000)
    assert [trial.params["gene_2"] for trial in study.trials[15:]] == [0] + [1] * 9
    assert {trial.params["depth"] for trial in study.trials[15:]} == {3}
    assert len(set(points(study))) == len(study.trials)


@pytest.mark.slow
def test_an_interrupted_run_with_fixed_values_equals_an_uninterrupted_one(tmp_path):
    whole = study_of(FLAT)
    fixing(whole, kind="a")
    whole.optimize(flat, n_trials=30)
    for _ in range(3):
        part = study_of(FLAT, storage=f"sqlite:///{tmp_path / 'part.db'}", name="part")
        fixing(part, kind="a")
        part.optimize(flat, n_trials=10)
    assert [trial.params for trial in part.trials] == [trial.params for trial in whole.trials]


def test_only_what_is_asked_for_is_sampled_from_what_is_left_of_its_choices():
    study = study_of(FLAT)

    def sample(space):
        trial = study._storage.get_trial(study._storage.create_new_trial(study._study_id))
        return study.sampler.sample_relative(study, trial, space)

    assert sample({}) == {}
    assert sample({"kind": FLAT["kind"]}).keys() == {"kind"}
    even = IntDistribution(4, 20, step=2)
    assert {sample({**FLAT, "x": even})["x"] for _ in range(30)} == {4, 6, 8}
    found = [sample({**FLAT, "x": FloatDistribution(0, 1), "z": IntDistribution(5, 6)}) for _ in range(20)]
    assert all(isinstance(values["x"], float) and 0 <= values["x"] <= 1 for values in found)
    assert {values["z"] for values in found} == {5, 6}
    assert len({values["x"] for values in found}) == 20


class Hiding(optuna.samplers.BaseSampler):
    """Another wrapper, which has the depth drawn independently."""

    def __init__(self, base):
        self.base = base

    def infer_relative_search_space(self, study, trial):
        space = self.base.infer_relative_search_space(study, trial)
        del space["depth"]
        return space

    def sample_relative(self, study, trial, search_space):
        return self.base.sample_relative(study, trial, search_space)

    def sample_independent(self, study, trial, name, distribution):
        return self.base.sample_independent(study, trial, name, distribution)


def test_a_parameter_that_a_wrapper_draws_independently_has_the_value_of_the_point():
    study = study_of(DEEP, active=asked)
    study.sampler = Hiding(study.sampler)
    study.optimize(deep, n_trials=39)
    assert len(set(points(study))) == 39


def test_a_value_outside_the_space_is_no_point_of_it():
    study = study_of({"x": IntDistribution(0, 3)})
    wide = [study.ask() for _ in range(3) if study.enqueue_trial({"x": 50}) is None]
    for trial in wide:
        assert trial.suggest_int("x", 0, 99) == 50
        assert study.sampler.point_of(study, study.trials[trial.number]) == {"x": 50}
        assert study.sampler.holders(study, study.trials[trial.number]) == set()
    for value in (60, "wide", [7]):  # waits, and holds nothing; the last two are no values at all
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            study.enqueue_trial({"x": value})
    assert not study.sampler.exhausted(study)
    study.optimize(lambda t: (t.suggest_int("x", 0, 99), 0), n_trials=20, catch=(ValueError,))
    assert [trial.params.get("x") for trial in study.trials[3:6]] == [60, None, None]
    assert sorted(trial.params["x"] for trial in study.trials[6:]) == [0, 1, 2, 3]
    study.enqueue_trial({"x": 70})  # an exhausted space does not keep anyone from asking for more
    study.optimize(lambda t: (t.suggest_int("x", 0, 99), 0), n_trials=1)
    assert study.trials[-1].state == TrialState.COMPLETE


def test_a_fixed_value_outside_the_space_ends_no_study_and_brings_no_parents():
    study = study_of(FLAT)
    fixing(study, x=50)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna's, that 50 is out of range
        study.optimize(flat, n_trials=40)
    assert {trial.params["x"] for trial in study.trials} == {50}
    study.sampler = study.sampler._base_sampler
    assert study.sampler.get_trial_generation(study, study.trials[-1]) == 0
    study.optimize(flat, n_trials=1000)
    assert len(study.trials) == 40 + 300


def test_a_hyperband_pruner_which_shows_a_part_of_the_trials_changes_nothing():
    def objective(trial):
        value = trial.suggest_int("x", 0, 9) + trial.suggest_int("y", 0, 9)
        for step in range(1, 9):
            trial.report(value, step)
            if trial.should_prune():
                raise optuna.TrialPruned
        return value

    sampler = DeclaredNSGAIISampler({name: FLAT[name] for name in ("x", "y")}, seed=0, population_size=8)
    study = optuna.create_study(sampler=sampler, pruner=optuna.pruners.HyperbandPruner(max_resource=8))
    study.optimize(objective, n_trials=200)
    assert len(study.trials) == len(set(points(study))) == 100


def test_a_multiple_of_a_step_is_known_however_it_was_rounded():
    space = {"x": FloatDistribution(0, 1, step=0.1)}
    study = study_of(space)
    study.enqueue_trial({"x": 0.3})  # 0.1 * 3 is 0.30000000000000004
    study.optimize(lambda trial: (trial.suggest_float("x", 0, 1, step=0.1), trial.number), n_trials=100)
    assert len(study.trials) == 11
    assert len({round(trial.params["x"], 6) for trial in study.trials}) == 11
    genes = Genes({"x": choices_of("x", space["x"])})
    assert genes.limits({"x": 0.3}) == {0: (3,)}
    assert all(genes.limits({"x": value}) == {0: ()} for value in (0.31, 1.1, -0.1, "a", [1]))


def test_the_point_of_a_running_trial_is_known_before_it_has_asked_for_all_of_it():
    study = study_of(FLAT)
    trial = study.ask()
    trial.suggest_int("x", 0, 9)
    point = study.sampler.point_of(study, study.trials[0])
    rest = {"y": trial.suggest_int("y", 0, 9), "kind": trial.suggest_categorical("kind", ("b", "a", "c"))}
    assert point == {"x": trial.params["x"], **rest}


def test_what_can_be_seen_to_be_infeasible_is_not_drawn():
    def excess(values):
        return abs(values["x"] + values["y"] - 12) / 12

    study = study_of(FLAT, violation=excess)
    study.optimize(flat, n_trials=100)
    complete = [t for t in study.trials if t.state == TrialState.COMPLETE]
    assert len(set(points(study))) == len(complete) == 3 * 7  # x + y = 12 has seven solutions up to 9
    assert {t.params["x"] + t.params["y"] for t in complete} == {12}
    assert len(study.trials) - len(complete) <= 1  # one may be asked for in vain, and is pruned


def test_a_narrow_region_of_a_large_space_is_found_step_by_step():
    space = {f"x{i}": IntDistribution(0, 99) for i in range(8)}

    def excess(values):
        return max(0, abs(sum(values.values()) - 790) - 2) / 790  # a share of about 3e-14 of all points

    study = study_of(space, violation=excess)
    study.optimize(lambda t: (t.suggest_int("x0", 0, 99), sum(t.suggest_int(f"x{i}", 0, 99) for i in range(8))), 40)
    assert sum(abs(trial.values[1] - 790) <= 2 for trial in study.trials) >= 35


def test_named_constraints_rank_behind_the_feasible_pruned_or_not():
    study = study_of(FLAT)

    def objective(trial):
        values = flat(trial)
        trial.set_constraint("sum", values[0] - 3)
        if values[0] > 3:
            raise optuna.TrialPruned
        return values

    study.optimize(objective, n_trials=120)
    feasible = [t.state == TrialState.COMPLETE for t in study.trials]
    assert sum(feasible) >= 28  # of the 30 that there are: ten sums of at most 3, in three kinds
    assert feasible[:8].count(True) < 4
    assert feasible[8:60].count(True) > 20


def test_three_objectives_and_parameters_that_were_not_declared():
    study = optuna.create_study(directions=["minimize"] * 3, sampler=DeclaredNSGAIISampler(FLAT, seed=0))
    again = optuna.create_study(directions=["minimize"] * 3, sampler=DeclaredNSGAIISampler(FLAT, seed=0))

    def objective(trial):
        return (*flat(trial), trial.suggest_float("undeclared", 0, 1))

    for made in (study, again):
        made.optimize(objective, n_trials=70)
    assert len({tuple(t.params[name] for name in FLAT) for t in study.trials}) == 70
    assert [t.params for t in study.trials] == [t.params for t in again.trials]
    assert len({t.params["undeclared"] for t in study.trials}) == 70


def test_a_sampler_serves_several_studies_threads_and_processes():
    sampler = DeclaredNSGAIISampler(FLAT, seed=0)
    studies = [optuna.create_study(directions=["maximize", "minimize"], sampler=sampler) for _ in range(2)]
    for _ in range(3):
        for study in studies:
            study.optimize(flat, n_trials=20)
    assert [t.params for t in studies[0].trials] == [t.params for t in studies[1].trials]
    threaded = optuna.create_study(directions=["maximize", "minimize"], sampler=pickle.loads(pickle.dumps(sampler)))
    threaded.optimize(flat, n_trials=100, n_jobs=4)
    assert len(set(points(threaded))) == 100


def test_all_values_of_a_distribution():
    assert choices_of("a", IntDistribution(2, 8, step=3)) == (2, 5, 8)
    assert choices_of("a", FloatDistribution(0, 1, step=0.25)) == (0, 0.25, 0.5, 0.75, 1)
    assert choices_of("a", CategoricalDistribution(("x", None, 3))) == ("x", None, 3)


@pytest.mark.parametrize(
    ("space", "options", "said"),
    [
        ({}, {}, "the space has no parameter"),
        (
            {"x": FloatDistribution(0, 1)},
            {},
            "parameter x: FloatDistribution.* has no list of at most 1,000,000 values",
        ),
        ({"x": IntDistribution(0, 10**9)}, {}, "parameter x"),
        (FLAT, {"population_size": 1}, "population_size 1"),
        (FLAT, {"population_size": 2.5}, "population_size 2.5"),
        (FLAT, {"seed": -1}, "seed -1"),
        (FLAT, {"seed": "a"}, "seed 'a'"),
    ],
)
def test_a_sampler_that_cannot_be_is_refused(space, options, said):
    with pytest.raises(ValueError, match=said):
        DeclaredNSGAIISampler(space, **options)


def test_points_of_a_space_are_those_that_it_enumerates(toy_space):
    for space in (toy_space, Space.load("tiny", uniform=True)):
        choices = {name: choices_of(name, given) for name, given in space.distributions().items()}
        genes = Genes(choices, space.active)
        found = [space.architecture(genes.values(point)) for point in genes.points()]
        assert len(found) == space.size
        assert set(found) == set(space.enumerate())
        keys = [genes.key(point) for point in genes.points()]
        assert len(set(keys)) == len(keys)
