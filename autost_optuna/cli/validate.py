"""autost-optuna validate: how far proxies can be trusted, from trained networks or from any table."""

import contextlib
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from autost_optuna import units
from autost_optuna.cli import options, printing
from autost_optuna.cli.study import quiet_optuna

if TYPE_CHECKING:
    from autost_optuna.evidence.predictor import Lessons, Predictor
    from autost_optuna.evidence.tabular import Table
    from autost_optuna.evidence.verdict import Validation


LEARNED = "learned"  # what a predictor says of left-out architectures, among the proxies


@click.command(short_help="Measure how far proxies can be trusted.")
@options.study_argument("study", required=False)
@click.option("--table", "path", type=click.Path(path_type=Path), metavar="FILE.csv", help="A table, .csv or .csv.gz.")
@click.option(
    "--target",
    "targets",
    multiple=True,
    metavar="COLUMN",
    help="What the proxies stand for; repeat it for further seeds. For a study, the default is validation_accuracy.",
)
@click.option(
    "--proxy",
    "proxies",
    multiple=True,
    metavar="COLUMN",
    help="A proxy; may be repeated. For a study, the default is flops, params and predicted_mj.",
)
@click.option(
    "--params", metavar="COLUMN", help="Parameters to hold fixed. By default the column params, if there is one."
)
@click.option(
    "--group", metavar="COLUMN", help="The column that rows of one architecture, one per seed, have in common."
)
@click.option("--where", multiple=True, metavar="COLUMN=VALUE", help="Use only the rows of a table with this value.")
@click.option(
    "--finite",
    is_flag=True,
    help="Leave out rows of a table in which a target, a proxy or params is empty, NaN or infinite.",
)
@click.option("--lower", is_flag=True, help="Less is better for target and proxies, as for energies.")
@click.option(
    "--recipe",
    metavar="NAME",
    help="Use only a study's networks with this recipe; by default the most frequent.",
)
@click.option(
    "--samples",
    type=int,
    default=1000,
    show_default=True,
    metavar="N",
    help="Number of resamples of the architectures, for intervals.",
)
@click.option("--seed", type=int, default=0, show_default=True, metavar="N", help="Seed of the resamples.")
@click.option(
    "--learn",
    is_flag=True,
    help="Learn the target from what is known without training, and judge predictions of left-out architectures too.",
)
@click.option(
    "--feature",
    "features",
    multiple=True,
    metavar="COLUMN",
    help="Learn from this column of a table; may be repeated. By default from the proxies.",
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Draw it: .html, .json, .svg or .png."
)
@options.output_format
@options.theme
@options.storage
def validate(
    study: str | None,
    path: Path | None,
    targets: tuple[str, ...],
    proxies: tuple[str, ...],
    params: str | None,
    group: str | None,
    where: tuple[str, ...],
    finite: bool,
    lower: bool,
    recipe: str | None,
    samples: int,
    seed: int,
    learn: bool,
    features: tuple[str, ...],
    output: Path | None,
    form: str,
    theme: str,
    storage: str,
) -> None:
    """Measure how well proxies rank architectures by the results of training: for the trained networks of a STUDY, or for a
    table with one row each.

    It prints rank correlations with 95 % intervals, for all architectures, within the best tenth and fifth, and with
    parameters held fixed; the loss from training only the best by proxy; and, with several seeds, how much of the target is
    chance. --learn adds a model that learns the target, and what it is worth on architectures that it has not seen.

    \b
    Example:
      autost-optuna validate demo -o validity.html
      autost-optuna validate demo --target energy_mj --proxy predicted_mj --lower
      autost-optuna validate --table runs.csv --target accuracy --proxy flops --proxy naswot --group architecture
    """
    quiet_optuna()
    from autost_optuna.delivery.plots.figure import check_ending, write_figure
    from autost_optuna.delivery.plots.validity import draw_validity, validity_view
    from autost_optuna.evidence.predictor import Lessons
    from autost_optuna.evidence.predictor import learn as learn_from
    from autost_optuna.evidence.tabular import PARAMS
    from autost_optuna.evidence.validity import validate as judge

    if output is not None:
        check_ending(output)
    if (study is None) == (path is None):
        raise ValueError("name either a study or --table FILE.csv")
    if features and (path is None or not learn):
        raise ValueError("--feature is for --learn on a table; a study's networks have features of their own")
    table, lessons = (_of_file(path, where, recipe), None) if path else _of_study(str(study), storage, where, recipe)
    if finite:
        named = [*targets, *proxies, *features]
        table = _finite(table, [*named, *([params] if params else [PARAMS] if PARAMS in table.names else [])])
    evidence = table.evidence(targets=targets, proxies=proxies, params=params, group=group, lower=lower)
    predictor = None
    if learn:
        if lessons is None or targets:
            known = table.evidence(
                targets=targets, proxies=features or tuple(evidence.proxies), params=params, group=group
            )
            lessons = Lessons(features=known.proxies, accuracies=known.means)
        predictor = learn_from(lessons, seed)
        evidence = replace(evidence, proxies={**evidence.proxies, LEARNED: predictor.left_out})
    with printing.bars("resamples") as update:
        found = judge(
            evidence, samples=samples, seed=seed, on_done=lambda done, total: update("resampling", done, total, "")
        )
    printing.note(f"for {evidence.target} and every proxy, a {evidence.better} value is better")
    _print(found, form, predictor)
    if output is not None:
        write_figure(draw_validity(validity_view(evidence, found)), output, theme)
        printing.note(units.one_line(f"wrote {output}"))


def _of_file(path: Path, where: tuple[str, ...], recipe: str | None) -> "Table":
    """The rows of a file that the options select."""
    from autost_optuna.evidence.tabular import read_table

    if recipe is not None:
        raise ValueError(f"--recipe {recipe} is for a study's networks; choose rows of a table by --where COLUMN=VALUE")
    pairs = dict(text.partition("=")[::2] for text in where)
    if len(pairs) < len(where):
        raise ValueError("--where names a column twice; give each column one value")
    for text in where:
        if "=" not in text:
            raise ValueError(f"--where {text!r} has no value; write --where COLUMN=VALUE")
    return read_table(path, pairs)


def _finite(table: "Table", names: list[str]) -> "Table":
    """The rows with finite numbers; prints a note on how many are left out."""
    kept = table.finite(names)
    if left := len(table.rows) - len(kept.rows):
        printing.note(f"{units.counted(left, 'row')} without a finite number left out")
    return kept


def _of_study(name: str, storage: str, where: tuple[str, ...], recipe: str | None) -> "tuple[Table, Lessons | None]":
    """The trained networks of a study that can be compared: those of the recipe and data set with the most architectures.

    As lessons too, if there are enough.
    """
    from autost_optuna.search.study import open_search
    from autost_optuna.training.calibration import group, trained_alike
    from autost_optuna.training.records import open_trained
    from autost_optuna.training.worth import lessons_of, selected, trained_table

    if where:
        raise ValueError(f"--where {where[0]} is for a table; choose trained networks by --recipe NAME")
    search = open_search(name, storage)
    trained = open_trained(search)
    trainings = trained.all()
    named = list(dict.fromkeys(one.recipe_name for one in trainings))
    if recipe is not None:
        recipe = _whole_name(recipe, named)
    alike = trained_alike(group(one for one in trainings if recipe in (None, one.recipe_name)))
    if not alike:
        raise ValueError(f"study {name} has no networks of a recipe {recipe!r}; it has {', '.join(named) or 'none'}")
    most = max(alike, key=len)
    runs = [run for one in most for run in one.runs]
    if len(most) < 3:
        command = units.command("train", name, "--front", "20")
        raise ValueError(
            f"study {name} has {units.counted(len(most), 'architecture')} trained alike; {command} trains more"
        )
    if len(runs) < len(trainings):
        left = units.counted(len(trainings) - len(runs), "network")
        printing.note(f"of recipe {runs[0].recipe_name} on {runs[0].data}; {left} trained otherwise left out")
    if out := selected(runs, trained.dropped()):
        printing.note(
            f"warning: {units.counted(out, 'network')} of this recipe dropped out of halving, so accuracy chose those that are "
            "judged here; train all of them for figures that can be trusted"
        )
    lessons = None
    with contextlib.suppress(ValueError):
        lessons = lessons_of(runs, search.settings.task)
    return trained_table(name, runs, search.candidates()), lessons


def _whole_name(recipe: str, named: list[str]) -> str:
    """The recipe's name with the hash of its changes, if the name alone identifies the recipe."""
    found = [name for name in named if recipe in (name, name.partition("#")[0])]
    return found[0] if len(found) == 1 else recipe


def _print(found: "Validation", form: str, predictor: "Predictor | None") -> None:
    """Print the verdicts as a table with a sentence each, as JSON or as CSV."""
    if form == "json":
        learned = {} if predictor is None else {"predictor": predictor.to_dict()}
        printing.print_json({**asdict(found), "ceiling_sentence": found.ceiling_sentence, **learned})
    elif form == "csv":
        of = {"target": found.target, "architectures": found.architectures}
        click.echo(units.csv_text([{**of, **verdict.row()} for verdict in found.proxies]), nl=False)
    else:
        printing.print_table(found.columns, found.cells, left=["proxy"])
        printing.note(
            f"{units.counted(found.architectures, 'architecture')} by {found.target}; intervals from {found.samples:,} "
            f"resamples, seed {found.seed}; tops: Kendall within them; at fixed params: Spearman"
        )
        for verdict in found.proxies:
            click.echo(verdict.sentence)
        click.echo(found.ceiling_sentence)
        if predictor is not None:
            click.echo(predictor.in_words)
    for warning in (*found.warnings, *(said for verdict in found.proxies for said in verdict.warnings)):
        printing.note(f"warning: {warning}")
