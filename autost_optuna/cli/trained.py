"""Trained networks in `study show`, `study front --trained` and `study plot --trained`."""

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from autost_optuna import units
from autost_optuna.cli import printing

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from autost_optuna.search.search import Search
    from autost_optuna.training.calibration import Calibration, Group
    from autost_optuna.training.record import Dropped, Record

MOST_LAYERS = 4
trained_option = click.option("--trained", is_flag=True, help="Trained networks only, predicted beside measured.")


def check_alone(**others: object) -> None:
    """ValueError if --trained is combined with an option that is only for the search."""
    for name, value in others.items():
        if value:
            raise ValueError(f"--trained takes all trained networks; leave out --{name.replace('_', '-')}")


def readable(search: "Search") -> "tuple[list[Record], list[Dropped]]":
    """The trained networks of a search, and those that dropped out; warns if they belong to another search."""
    from autost_optuna.training.records import dropped_of, trainings_of

    try:
        return trainings_of(search), dropped_of(search)
    except ValueError as error:
        printing.note(f"warning: {error}")
        return [], []


def summary_of(search: "Search", trainings: "list[Record]") -> dict[str, Any] | None:
    """All information on trained networks, for JSON; None if there are none."""
    from autost_optuna.training.calibration import calibrate

    if not trainings:
        return None
    settings = search.settings
    return {
        "networks": len(trainings),
        "members": len({training.architecture for training in trainings}),
        "recipes": list(dict.fromkeys(training.recipe_name for training in trainings)),
        "calibration": [asdict(one) for one in calibrate(trainings, settings.task, settings.convention)],
        "rows": rows(search, trainings),
        "trainings": [training.to_dict() for training in trainings],
    }


def print_summary(search: "Search", trainings: "list[Record]", dropped: "list[Dropped]") -> None:
    """Print the same in a few lines, and what FLOPs are worth as a proxy, here or else in the published study."""
    from autost_optuna.training.calibration import calibrate, group
    from autost_optuna.training.worth import ELSEWHERE, worth

    settings, told = search.settings, False
    for found in calibrate(trainings, settings.task, settings.convention):
        alike = [t for t in trainings if (t.recipe_hash, t.data) == (found.recipe_hash, found.data)]
        best = max(group(alike), key=lambda one: one.validation_accuracy.mean)
        members, networks = units.counted(found.members, "member"), units.counted(found.networks, "network")
        click.echo(f"trained      {networks} of {members}, recipe {found.recipe_name} on {found.data}")
        click.echo(f"  accuracy   {_best_line(search, best)}{_ranks('by FLOPs', found.accuracy)}")
        if (verdict := worth(alike, dropped)) is not None:
            told = True
            click.echo(f"  proxy      {verdict.sentence}")
            for warning in verdict.warnings:
                printing.note(f"warning: {warning}")
        click.echo(f"  energy     {_energy_line(found)}")
        click.echo(f"  layers     {_layers_line(found)}")
    if not told:
        click.echo("proxy        " + ELSEWHERE.replace("; ", "\n             "))


def dropped_lines(dropped: "list[Dropped]") -> list[str]:
    """How many networks dropped out of a halving after which epoch, one line per recipe."""
    found: dict[tuple[str, str, int], Counter[int]] = {}
    for one in dropped:
        found.setdefault((one.recipe_name, one.key.data, one.all_epochs), Counter())[one.epochs] += 1
    return [
        f"{', '.join(f'{count} after {epochs}' for epochs, count in sorted(counts.items()))} of {of} epochs, recipe {name} on "
        f"{data}"
        for (name, data, of), counts in found.items()
    ]


def rows(search: "Search", trainings: "list[Record]") -> list[dict[str, Any]]:
    """One row per trained architecture and recipe, by ascending predicted energy; deviations are over seeds.

    `number` is the trial with the architecture; a network of no trial has none, and is known by its name in `network`.
    """
    from autost_optuna.front.picks import numbers_of
    from autost_optuna.training.calibration import group, measured_front

    groups, numbers = group(trainings), numbers_of(search.candidates())
    front = measured_front(groups)
    found = []
    for one in groups:
        first, validation, test, energy = one.runs[0], one.validation_accuracy, one.test_accuracy, one.energy_mj
        found.append(
            {
                "number": numbers.get(one.architecture.key),
                "network": first.network,
                "architecture": one.architecture.to_dict(),
                "flops": first.flops,
                "params": first.params,
                "predicted_mj": one.predicted_mj,
                "measured_mj": energy.mean,
                "measured_deviation_mj": energy.deviation,
                "ratio": one.ratio,
                "validation_accuracy": validation.mean,
                "validation_deviation": validation.deviation,
                "test_accuracy": test.mean,
                "test_deviation": test.deviation,
                "seeds": len(one.runs),
                "recipe": first.recipe_name,
                "data": first.data,
                "nondominated": one in front,
            }
        )
    return found


def print_rows(search: "Search", form: str) -> None:
    """Print the rows of the trained networks as a table, JSON or CSV. ValueError if there are none."""
    from autost_optuna.training.records import open_trained

    trainings = open_trained(search)
    found = rows(search, trainings.all())
    if form == "json":
        printing.print_json(found)
    elif form == "csv":
        flat = [{"number": row["number"], **row["architecture"], **row} for row in found]
        click.echo(units.csv_text([{k: v for k, v in row.items() if k != "architecture"} for row in flat]), nl=False)
    else:
        _print_table(found)
        printing.note(
            "* non-dominated as measured, in validation accuracy and energy. Energies per image, "
            f"{search.settings.convention.label}: at initialisation, and of trained weights on held-out images"
        )
        for line in dropped_lines(trainings.dropped()):
            printing.note(f"dropped out of halving: {line}")


def trained_figure(search: "Search") -> "Figure":
    """The plot of the trained networks of a search. ValueError if there are none."""
    from autost_optuna.delivery.plots.trained import draw_trained, trained_view
    from autost_optuna.training.records import open_trained

    return draw_trained(trained_view(search.study.study_name, search.candidates(), open_trained(search).all()))


def _print_table(found: list[dict[str, Any]]) -> None:
    cells = [
        [
            f"{'*' if row['nondominated'] else ' '}{(row['network'] or '-') if row['number'] is None else row['number']}",
            str(row["architecture"]["embed_dim"]),
            str(row["architecture"]["depth"]),
            f"{row['flops'] / 1e9:.3f}",
            units.significant(row["predicted_mj"], 4),
            units.significant(row["measured_mj"], 4),
            f"{row['ratio']:.2f}",
            units.share(row["validation_accuracy"], row["validation_deviation"]),
            units.share(row["test_accuracy"], row["test_deviation"]),
            str(row["seeds"]),
            f"{row['recipe']} on {row['data']}",
        ]
        for row in found
    ]
    columns = ["trial", "C", "depth", "GFLOPs", "predicted mJ", "measured mJ", "ratio"]
    printing.print_table([*columns, "validation", "test", "seeds", "recipe"], cells, left=["recipe"])


def _best_line(search: "Search", best: "Group") -> str:
    from autost_optuna.front.picks import numbers_of

    number = numbers_of(search.candidates()).get(best.architecture.key)
    title = (best.runs[0].network or "trial -") if number is None else f"trial {number}"
    validation, test = best.validation_accuracy, best.test_accuracy
    return (
        f"best {units.share(validation.mean, validation.deviation)} validation, "
        f"{units.share(test.mean, test.deviation)} test: {title}, "
        f"{units.counted(len(best.runs), 'seed')}"
    )


def _energy_line(found: "Calibration") -> str:
    spread = "" if found.members < 2 else f" ({found.least_ratio:.2f} to {found.largest_ratio:.2f})"
    order = f"; {found.swapped} of {units.counted(found.pairs, 'pair')} in another order" if found.pairs else ""
    return f"measured {found.ratio:.2f} times the predicted{spread}{order}{_ranks('ranks', found.energy)}"


def _ranks(what: str, ranks: Any) -> str:
    return "" if ranks is None else f"; {what}: Spearman {ranks.spearman:.2f}, Kendall {ranks.kendall:.2f}"


def _layers_line(found: "Calibration") -> str:
    parts = []
    for row in found.layers[:MOST_LAYERS]:
        parts.append(f"{row.role} {row.initial_rate:.3f} to {row.trained_rate:.3f} ({row.change:+.1%})")
    return f"rates (change of the whole energy): {', '.join(parts)}"
