"""The trained networks of a search as evidence on proxies, and what FLOPs are worth among them."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from statistics import fmean

from autost_optuna.evidence.features import columns, features_of
from autost_optuna.evidence.predictor import Lessons
from autost_optuna.evidence.tabular import Table
from autost_optuna.evidence.validity import FEWEST, validate
from autost_optuna.evidence.verdict import Verdict
from autost_optuna.front.candidate import Candidate
from autost_optuna.network.task import Task
from autost_optuna.training.record import Dropped, Record

# The text on FLOPs if a search's own trained networks are too few; its figures come from studies/proxy_validity.
ELSEWHERE = (
    "what FLOPs are worth here is not known: train five networks alike without halving. In studies/proxy_validity, FLOPs of 40 "
    "narrow networks ranked accuracy after 3 epochs at Kendall 0.49 (0.37 to 0.60), but at -0.78 to -0.27 within one width"
)


def trained_table(source: str, trainings: Sequence[Record], candidates: Iterable[Candidate] = ()) -> Table:
    """The trained networks of a search, one row each: proxies, with the scores of its `candidates`, and measurements."""
    scores = {one.architecture.key: dict(one.scores) for one in candidates if one.scores}
    further = tuple(next(iter(scores.values()), {}))
    rows: list[dict[str, str | float]] = [
        {
            "architecture": one.architecture.to_text(),
            "seed": one.seed,
            "embed_dim": one.architecture.embed_dim,
            "depth": one.architecture.depth,
            "flops": one.flops,
            "params": one.params,
            "predicted_mj": one.predicted_mj,
            **{name: scores.get(one.architecture.key, {}).get(name, "") for name in further},
            "validation_accuracy": one.validation_accuracy,
            "test_accuracy": one.test_accuracy,
            "energy_mj": one.energy_mj,
            "mean_rate": one.mean_rate,
        }
        for one in trainings
    ]
    return Table(
        source=source,
        names=tuple(rows[0]) if rows else (),
        rows=tuple(tuple(row.values()) for row in rows),
        places=tuple(f"trial {one.number}" for one in trainings),
        targets=("validation_accuracy",),
        proxies=("flops", "params", "predicted_mj", *further),
        group="architecture",
    )


def lessons_of(trainings: Sequence[Record], task: Task) -> Lessons:
    """The trained networks of a search as lessons for a predictor: one for each architecture, its accuracy the mean over seeds.

    ValueError if nothing can be learned from them.
    """
    accuracies: dict[str, list[float]] = {}
    known: dict[str, dict[str, float]] = {}
    for one in trainings:
        key = one.architecture.to_text()
        accuracies.setdefault(key, []).append(one.validation_accuracy)
        known.setdefault(key, features_of(one.architecture, task, one.predicted_mj))
    return Lessons(features=columns(list(known.values())), accuracies=[fmean(values) for values in accuracies.values()])


def selected(trainings: Sequence[Record], dropped: Iterable[Dropped]) -> int:
    """How many networks with the recipe and data of `trainings`, which are alike, dropped out. They did so by accuracy, so the
    remaining ones are a biased sample and say little about proxies."""
    first = trainings[0]
    alike = first.recipe_hash, first.data, first.data_fingerprint
    return sum((one.key.recipe_hash, one.key.data, one.key.data_fingerprint) == alike for one in dropped)


def worth(trainings: Sequence[Record], dropped: Iterable[Dropped] = ()) -> Verdict | None:
    """What FLOPs are worth as a proxy among networks trained alike, with all warnings; None if that is unknown.

    With fewer than FEWEST, chance alone often gives an interval without 0; after halving, accuracy chose those that remain.
    """
    if len({training.architecture.key for training in trainings}) < FEWEST or selected(trainings, dropped):
        return None
    try:
        evidence = trained_table("trained networks", trainings).evidence(proxies=["flops"])
    except ValueError:  # all are equal
        return None
    found = validate(evidence)
    return replace(found.proxies[0], warnings=(*found.warnings, *found.proxies[0].warnings))
