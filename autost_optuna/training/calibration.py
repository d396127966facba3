"""Calibration: predictions for trained networks beside their measurements. Arithmetic only.

Energy is predicted from the rates at initialisation and measured from those of the trained network; accuracy is only ranked,
by FLOPs. Networks with different recipes or data are not compared.
"""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from autost_optuna.network.architecture import Architecture
from autost_optuna.network.chain import operations_and_populations
from autost_optuna.network.task import Task
from autost_optuna.proxies.convention import Convention
from autost_optuna.proxies.energy import Charge, estimate_energy, mean_rate, total_mj
from autost_optuna.ranks import Ranks, rank
from autost_optuna.training.record import Record


@dataclass(frozen=True, kw_only=True, slots=True)
class Mean:
    """The mean of a figure over seeds, and the sample standard deviation, which is None for one seed."""

    mean: float
    deviation: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """The trainings of one architecture with one recipe on one data set, which differ only in their seeds."""

    runs: tuple[Record, ...]

    @property
    def architecture(self) -> Architecture:
        """The trained architecture."""
        return self.runs[0].architecture

    @property
    def predicted_mj(self) -> float:
        """The energy at initialisation."""
        return self.runs[0].predicted_mj

    @property
    def energy_mj(self) -> Mean:
        """The measured energy."""
        return mean_of([run.energy_mj for run in self.runs])

    @property
    def ratio(self) -> float:
        """Measured over predicted energy."""
        return self.energy_mj.mean / self.predicted_mj

    @property
    def validation_accuracy(self) -> Mean:
        """The accuracy that all choices are based on."""
        return mean_of([run.validation_accuracy for run in self.runs])

    @property
    def test_accuracy(self) -> Mean:
        """The accuracy on the test set, which is used once per training."""
        return mean_of([run.test_accuracy for run in self.runs])


@dataclass(frozen=True, kw_only=True, slots=True)
class Moved:
    """Input rates of the operations of one role, such as attention.q, at initialisation and trained.

    A network's rate for a role is the mean over all its MACs; these are means over networks. `ratio` is None if the role was
    silent. `change` is the change of the role's energy, as a share of all networks' energy at initialisation: the changes of
    all roles add up to that of the energy.
    """

    role: str
    initial_rate: float
    trained_rate: float
    ratio: float | None
    change: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """How accurate the predictions were for `networks` networks of `members` architectures that were trained alike.

    The mean, least and largest ratios are measured over predicted energy per architecture. `energy` ranks predicted against
    measured energy, `accuracy` ranks FLOPs against validation accuracy; both are None if there are fewer than three
    architectures or all figures are equal. Of `pairs` pairs of architectures, `swapped` have the opposite order in measured
    energy. The `layers` that moved most come first.
    """

    recipe_hash: str
    recipe_name: str
    data: str
    convention: str
    networks: int
    members: int
    ratio: float
    least_ratio: float
    largest_ratio: float
    energy: Ranks | None
    accuracy: Ranks | None
    pairs: int
    swapped: int
    layers: tuple[Moved, ...]


def group(trainings: Iterable[Record]) -> list[Group]:
    """Trainings grouped with those that differ only in their seeds, by ascending predicted energy."""
    found: dict[tuple[str, ...], list[Record]] = {}
    for training in trainings:
        found.setdefault((training.architecture.key, *_alike(training)), []).append(training)
    groups = [Group(runs=tuple(sorted(runs, key=lambda run: run.seed))) for runs in found.values()]
    return sorted(groups, key=lambda one: (one.predicted_mj, one.runs[0].search_trial or 0))


def measured_front(groups: Iterable[Group]) -> list[Group]:
    """The groups that no group trained alike beats in both mean validation accuracy and mean measured energy.

    They come recipe by recipe, by ascending energy.
    """
    members: list[Group] = []
    for alike in trained_alike(groups):
        best = -1.0
        for one in sorted(alike, key=lambda g: (g.energy_mj.mean, -g.validation_accuracy.mean)):
            if one.validation_accuracy.mean > best:
                best = one.validation_accuracy.mean
                members.append(one)
    return members


def trained_alike(groups: Iterable[Group]) -> list[list[Group]]:
    """The groups by recipe and data set: only groups that share both are compared."""
    found: dict[tuple[str, ...], list[Group]] = {}
    for one in groups:
        found.setdefault(_alike(one.runs[0]), []).append(one)
    return list(found.values())


def _alike(training: Record) -> tuple[str, str, str]:
    return training.recipe_hash, training.data, training.data_fingerprint


def calibrate(trainings: Iterable[Record], task: Task, convention: Convention) -> list[Calibration]:
    """One calibration per recipe and data set, the one with the most architectures first.

    ValueError if energies were measured under another convention.
    """
    found = [_calibrate(groups, task, convention) for groups in trained_alike(group(trainings))]
    return sorted(found, key=lambda one: -one.members)


def _calibrate(groups: Sequence[Group], task: Task, convention: Convention) -> Calibration:
    runs = [run for one in groups for run in one.runs]
    for run in runs:
        if run.convention != convention.label:
            raise ValueError(
                f"trial {run.number} was measured under {run.convention}, not under {convention.label}; calibrate under that"
            )
    predicted, measured = [one.predicted_mj for one in groups], [one.energy_mj.mean for one in groups]
    ratios = [one.ratio for one in groups]
    return Calibration(
        recipe_hash=runs[0].recipe_hash,
        recipe_name=runs[0].recipe_name,
        data=runs[0].data,
        convention=convention.label,
        networks=len(runs),
        members=len(groups),
        ratio=fmean(ratios),
        least_ratio=min(ratios),
        largest_ratio=max(ratios),
        energy=rank(predicted, measured),
        accuracy=rank([one.runs[0].flops for one in groups], [one.validation_accuracy.mean for one in groups]),
        pairs=len(groups) * (len(groups) - 1) // 2,
        swapped=swapped_pairs(predicted, measured),
        layers=tuple(moved(runs, task, convention)),
    )


def mean_of(values: Sequence[float]) -> Mean:
    """The mean and sample standard deviation of at least one value."""
    return Mean(mean=fmean(values), deviation=stdev(values) if len(values) > 1 else None)


def swapped_pairs(first: Sequence[float], second: Sequence[float]) -> int:
    """The number of pairs with opposite orders in `first` and `second`; ties do not count."""
    points = zip(first, second, strict=True)
    return sum((a - c) * (b - d) < 0 for (a, b), (c, d) in itertools.combinations(points, 2))


def moved(runs: Sequence[Record], task: Task, convention: Convention) -> list[Moved]:
    """How the rates of each role moved in training, and the change of the total energy from it, largest first."""
    bills = [
        tuple(_bill(run.architecture, rates, task, convention) for rates in (run.initial_rates, run.rates))
        for run in runs
    ]
    whole = sum(total_mj(before) for before, _ in bills)
    rows = []
    for role in dict.fromkeys(charge.role for before, _ in bills for charge in before if charge.rate is not None):
        change, initial, trained = 0.0, [], []
        for before, after in bills:
            spiking = ([one for one in bill if one.role == role and one.rate is not None] for bill in (before, after))
            parts = list(spiking)
            if not parts[0]:  # a network of other parts, or one where real values drive this
                continue
            change += total_mj(parts[1]) - total_mj(parts[0])
            initial.append(mean_rate(parts[0]))
            trained.append(mean_rate(parts[1]))
        rows.append(
            Moved(
                role=role,
                initial_rate=fmean(initial),
                trained_rate=fmean(trained),
                ratio=fmean(trained) / fmean(initial) if fmean(initial) else None,
                change=change / whole,
            )
        )
    return sorted(rows, key=lambda row: -abs(row.change))


def _bill(architecture: Architecture, rates: dict[str, float], task: Task, convention: Convention) -> list[Charge]:
    ledger, layers = operations_and_populations(architecture, task)
    return estimate_energy(ledger, rates, convention, layers)
