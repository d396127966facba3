"""autost-optuna study: create, list, show, fork, delete."""

from typing import TYPE_CHECKING

import click

from autost_optuna import units
from autost_optuna.front.candidate import TABLE, Candidate

if TYPE_CHECKING:
    from autost_optuna.search.search import Search


@click.group(no_args_is_help=True)
def study() -> None:
    """Search: create a study, run it, inspect its front."""


def describe_candidate(candidate: Candidate) -> str:
    """A candidate in one line."""
    return (
        f"{candidate.architecture.to_text()}: {units.count(candidate.flops, 'FLOPs')}, "
        f"{units.energy(candidate.energy_mj)} ({candidate.convention}{candidate.remark}), {units.parameters(candidate.params)}"
    )


def quiet_optuna() -> None:
    """Limit Optuna's log to warnings, because this program shows progress itself."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)


def settings_line(search: "Search") -> str:
    """A line on the space, task and rates of a search."""
    settings = search.settings
    form = " uniform" if settings.space.uniform else ""
    return (
        f"space {settings.space.name}{form} ({settings.space.size:,} architectures), task {settings.task.name}, "
        f"{rates_line(search)}"
    )


def rates_line(search: "Search") -> str:
    """A line on how the energies of a search were obtained."""
    settings = search.settings
    return (
        f"{settings.convention.label}, rates on {units.images(settings.images, settings.seeds)} of {settings.data}, "
        f"{units.seeds(settings.seed, settings.seeds)}"
    )


def print_table_error(search: "Search", label: str = "rates:") -> None:
    """Print the size, duration and error of the table that the rates of a search come from, if they do."""
    from autost_optuna.search.tables import about_table

    if search.settings.rates == TABLE and (table := about_table(search.study)):
        click.echo(f"{label} {table.in_words}")


def number(value: float | None) -> str:
    """Four decimals, or a dash without a value."""
    return "-" if value is None else f"{value:.4f}"
