"""autost-optuna study baseline: published networks, or the user's own architectures, beside a search."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from autost_optuna import units
from autost_optuna.cli import options, printing
from autost_optuna.cli.dashboard import keep_board
from autost_optuna.cli.study import quiet_optuna, rates_line

if TYPE_CHECKING:
    from autost_optuna.front.candidate import Candidate
    from autost_optuna.network.families import Published
    from autost_optuna.search.baselines import Baseline
    from autost_optuna.search.search import Search


@click.command(short_help="Place networks chosen by hand beside a search.")
@options.study_argument("name")
@click.argument("networks", nargs=-1, metavar="[NETWORK]...")
@click.option("--remove", multiple=True, metavar="NETWORK", help="Remove this baseline; may be repeated.")
@click.option("--clear", is_flag=True, help="Remove all baselines.")
@click.option("--rebuilt", is_flag=True, help="Rebuild the sizes of published NETWORKs in AutoST's form.")
@options.data_root
@options.device
@options.output_format
@options.storage
def baseline(
    name: str,
    networks: tuple[str, ...],
    remove: tuple[str, ...],
    clear: bool,
    rebuilt: bool,
    data_root: Path | None,
    device: str,
    form: str,
    storage: str,
) -> None:
    """Place NETWORKs beside the search of the study NAME, measure each, and compare it with the front.

    A NETWORK is a published one as its authors build it, such as spikingformer-4-384, or your own architecture, written as
    for describe; all are the published ones for the study's task. --rebuilt takes only the sizes of published networks, for
    AutoST's form. A separate table prints what the authors print. Baselines are drawn and listed with the front, but never
    count as searched. Without a NETWORK, print the baselines of the study.

    \b
    Example:
      autost-optuna study baseline demo spikingformer-4-384 "C=96,depth=2,heads=4,ratio=4"
    """
    quiet_optuna()
    from autost_optuna.front.front import in_plane, nondominated
    from autost_optuna.search.baselines import (
        add_baselines,
        baselines_of,
        find_networks,
        name_of,
        remove_baselines,
        to_row,
    )
    from autost_optuna.search.study import open_search

    if bool(networks) + bool(remove) + clear > 1:
        raise click.UsageError("Give NETWORKs to add, or --remove NETWORK, or --clear.")
    if rebuilt and not networks:
        raise click.UsageError("Give --rebuilt with the NETWORKs whose sizes are meant.")
    search = open_search(name, storage, write=bool(networks or remove or clear))
    if networks:
        chosen = find_networks(networks, storage, search.settings.task, rebuilt=rebuilt)
        add_baselines(search, chosen, data_root=data_root, device=options.chosen_device(device))
    elif remove or clear:
        remove_baselines(search, [b.name for b in baselines_of(search)] if clear else map(name_of, remove))
    found, members = baselines_of(search), in_plane(nondominated(search.candidates()))
    if form == "json":
        printing.print_json([to_row(one, members) for one in found])
    elif form == "csv":
        click.echo(units.csv_text([_flat_row(to_row(one, members)) for one in found]), nl=False)
    else:
        _print_baselines(search, found, members)
    if networks or remove or clear:
        keep_board(search, data_root)


def _flat_row(row: dict[str, Any]) -> dict[str, Any]:
    """The row of `to_row` without nesting."""
    return {"name": row.pop("name"), "sizes_of": row.pop("sizes_of"), **row.pop("architecture"), **row}


def _print_baselines(search: "Search", found: "list[Baseline]", members: "list[Candidate]") -> None:
    from autost_optuna.search.baselines import alike, baseline_in_words, caveat, sizes_of

    if not found:
        click.echo(f"study {search.study.study_name} has no baselines")
        return
    rows = []
    for group in alike(found):
        one = group[0]
        figures = f"{one.params:,}", f"{one.macs / 1e9:.3f}", units.significant(one.energy_mj, 4)
        rows.append([one.label, sizes_of(group) or "-", *figures])
    printing.print_table(["baseline", "sizes of", "params", "GMACs", "mJ"], rows, left=["baseline", "sizes of"])
    for group in alike(found):
        click.echo(f"{group[0].label}: {baseline_in_words(group[0], members)}")
        if reason := search.settings.constraints.refusal(group[0].architecture, search.settings.task):
            click.echo(f"{group[0].label} does not fit {search.settings.convention.name}: {reason}")
    printing.note(f"Energy at initialisation: {rates_line(search)}")
    if caveat(found):
        click.echo(caveat(found))
    if networks := list(dict.fromkeys(one.published for one in found if one.published)):
        _print_published(networks)


def print_family(family: str, form: str) -> None:
    """Print the networks of a family with their sizes and what the authors print, as a table, JSON or CSV."""
    from autost_optuna.network.families import FAMILIES, NETWORKS
    from autost_optuna.network.task import Task
    from autost_optuna.proxies.flops import count_macs, count_params

    rows = []
    for network in (NETWORKS[name] for name in FAMILIES[family]):
        size = network.architecture, Task.preset(network.task)
        counts = {"params": count_params(*size), "macs": count_macs(*size)}
        rows.append({**network.to_dict(), **counts, "architecture": network.architecture.to_text()})
    if form == "json":
        printing.print_json(rows)
    elif form == "csv":
        click.echo(
            units.csv_text([{**row, "accuracies": NETWORKS[row["name"]].accuracies_in_words} for row in rows]), nl=False
        )
    else:
        cells = [
            [
                row["name"],
                row["task"],
                f"{row['params'] / 1e6:.2f}",
                f"{row['macs'] / 1e9:.2f}",
                NETWORKS[row["name"]].accuracies_in_words,
            ]
            for row in rows
        ]
        columns = ["network", "task", "M params", "GMACs", "published accuracy"]
        printing.print_table(columns, cells, left=["network", "task", "published accuracy"])
        printing.note(f"next: {units.command('describe', FAMILIES[family][0])}")


def _print_published(networks: "list[Published]") -> None:
    """Print what the authors of published networks print, in a separate table."""
    click.echo("\nAs published, with trained weights:")
    columns = ["network", "task", "accuracy", "mJ", "source"]
    rows = [
        [
            one.name,
            one.task,
            one.accuracies_in_words,
            "-" if one.energy_mj is None else f"{one.energy_mj:.2f}",
            one.source,
        ]
        for one in networks
    ]
    printing.print_table(columns, rows, left=["network", "task", "accuracy", "source"])
    if any(one.energy_mj for one in networks):
        printing.note("Published energies are as counted by their authors (45 nm, 32-bit float, 4 time steps)")
    for remark in dict.fromkeys(one.remark for one in networks if one.remark):
        printing.note(remark)
    for one in networks:
        if one.unused:
            printing.note(
                f"the code of {one.name} has {one.unused:,} parameters more that it never uses: {one.unused_what}"
            )
