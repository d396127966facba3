"""What a study knows about a trial without its images: an audit that leaves the cost of spikes open."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from autost_optuna import units
from autost_optuna.cli import printing
from autost_optuna.cli.create import away
from autost_optuna.cli.study import describe_candidate
from autost_optuna.front.candidate import Candidate

if TYPE_CHECKING:
    from autost_optuna.network.task import Task
    from autost_optuna.proxies.convention import Convention
    from autost_optuna.search.search import Search


def print_stored(search: "Search", source: str, form: str) -> None:
    """Print the stored figures of the trial STUDY:TRIAL, in the form of `describe`; unknown figures stay open."""
    from autost_optuna.search.bills import known_rows

    settings = search.settings
    candidate = search.candidate(int(source.rpartition(":")[2]))
    rows = known_rows(candidate, settings)
    if form == "csv":
        click.echo(units.csv_text(rows), nl=False)
    elif form == "json":
        head = headline(candidate, settings.task, settings.convention)
        known = {"counting": "rate", "rate_mj": candidate.energy_mj, "exact_mj": None}
        without = {"int8_mj": candidate.quantised_mj, "break_even_rate": candidate.break_even_rate}
        printing.print_json({**head, **known, "quantised": without, "operations": rows})
    else:
        _print_rows(rows, candidate)
    printing.note(
        f"{away(settings)}: these are the figures that it stored with trial {candidate.number}; what spikes cost in each "
        "operation is not among them, --data-root DIR measures it"
    )


def headline(candidate: Candidate, task: "Task", convention: "Convention") -> dict[str, Any]:
    """An architecture's figures and their provenance, as JSON."""
    fields = (
        "params",
        "macs",
        "flops",
        "energy_mj",
        "rates",
        "convention",
        "mean_rate",
        "dead_share",
        "silent",
        "data",
        "images",
        "seed",
        "seeds",
    )
    return {
        "architecture": candidate.architecture.to_dict(),
        "task": asdict(task),
        **{field: getattr(candidate, field) for field in fields},
        "weights": candidate.weights,
        "spread": asdict(candidate.spread),
        "convention_rules": {**convention.to_dict(), "hash": convention.hash},
    }


def spread_lines(candidate: Candidate) -> list[str]:
    """The spread of the energy over images and seeds, in words; nothing for a single image."""
    spread = candidate.spread
    if spread.std_mj is None:
        return []
    error = "known with --seeds 2 or more" if spread.error_mj is None else units.energy(spread.error_mj)
    return [
        f"spread: single images from {units.energy(spread.low_mj)} to {units.energy(spread.high_mj)}, standard deviation "
        f"{units.energy(spread.std_mj)}; standard error of the mean {error}"
    ]


def _print_rows(rows: list[dict[str, Any]], candidate: Candidate) -> None:
    cells = [
        [
            row["name"],
            f"{row['macs']:,}",
            str(row["steps"]),
            (row["driven_by"] or "").removeprefix(row["name"].rpartition(".")[0] + "."),
            row["kind"].upper() if row["macs"] else row["kind"],
            "-" if row["energy_pj"] is None else f"{row['energy_pj']:,.0f}",
            "-" if row["share"] is None else f"{row['share']:.1%}",
        ]
        for row in rows
    ]
    cells.append(
        ["total (all steps)", f"{candidate.macs:,}", "", "", "", f"{candidate.energy_mj * 1e9:,.0f}", "100.0%"]
    )
    columns = ["operation", "MACs", "steps", "driven by", "kind", "pJ", "share"]
    printing.print_table(columns, cells, left=["operation", "driven by"])
    for line in (
        describe_candidate(candidate),
        *spread_lines(candidate),
        f"without spikes, one pass of 8-bit MACs: {units.energy(candidate.quantised_mj)}",
    ):
        click.echo(line)
    printing.note(f"rates: {candidate.provenance}, mean {candidate.rate_in_words}")
