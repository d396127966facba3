"""autost-optuna study baseline: published networks, or some of one's own, beside a search."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from autost_optuna import units
from autost_optuna.cli import options, show
from autost_optuna.cli.dashboard import keep_board
from autost_optuna.cli.study import quiet_optuna, rates_line

if TYPE_CHECKING:
    from autost_optuna.baselines import Baseline
    from autost_optuna.candidate import Candidate
    from autost_optuna.study import Search


@click.command(short_help="Place published networks beside a search.")
@options.study_argument("name")
@click.argument("networks", nargs=-1, metavar="[NETWORK]...")
@click.option("--remove", multiple=True, metavar="NETWORK", help="Take out this baseline; may be repeated.")
@click.option("--clear", is_flag=True, help="Take out all baselines.")
@options.data_root
@options.device
@options.output_format
@options.storage
def baseline(
    name: str,
    networks: tuple[str, ...],
    remove: tuple[str, ...],
    clear: bool,
    data_root: Path | None,
    device: str,
    form: str,
    storage: str,
) -> None:
    """Place NETWORKs beside the search of the study NAME, and print our figures beside the published ones.

    A NETWORK is spikformer-2-384, spikformer-4-384, spikingformer-2-384, spikingformer-4-384, spikingformer-8-512, all of
    these as all, or an architecture of your own, written as for describe. Baselines are drawn and listed with the front,
    and never counted as searched. Without a NETWORK, print those that are there.

    \b
    Example:
      autost-optuna study baseline demo spikingformer-4-384 "C=96,depth=2,heads=4,ratio=4"
    """
    quiet_optuna()
    from autost_optuna.baselines import add_baselines, baselines_of, find_networks, name_of, remove_baselines, to_row
    from autost_optuna.front import in_plane, nondominated
    from autost_optuna.study import open_search

    if bool(networks) + bool(remove) + clear > 1:
        raise click.UsageError("Give NETWORKs to add, or --remove NETWORK, or --clear.")
    search = open_search(name, storage, write=bool(networks or remove or clear))
    if networks:
        chosen = find_networks(networks, storage)
        add_baselines(search, chosen, data_root=data_root, device=options.chosen_device(device))
    elif remove or clear:
        remove_baselines(search, [b.name for b in baselines_of(search)] if clear else map(name_of, remove))
    found, members = baselines_of(search), in_plane(nondominated(search.candidates()))
    if form == "json":
        show.print_json([to_row(one, members) for one in found])
    elif form == "csv":
        click.echo(units.csv_text([_flat_row(to_row(one, members)) for one in found]), nl=False)
    else:
        _print_baselines(search, found, members)
    if networks or remove or clear:
        keep_board(search, data_root)


def _flat_row(row: dict[str, Any]) -> dict[str, Any]:
    """The row of `to_row` without nesting."""
    published = dict(row.pop("published") or {})
    accuracies = [f"{data}: {value}" for data, value in published.pop("accuracies", {}).items()]
    names = ("task", "params", "gmacs", "energy_mj", "source", "remark")
    return {
        "name": row.pop("name"),
        **row.pop("architecture"),
        **row,
        **{f"published_{name}": published.get(name) for name in names},
        "published_accuracies": accuracies,
    }


def _print_baselines(search: "Search", found: "list[Baseline]", members: "list[Candidate]") -> None:
    from autost_optuna.baselines import DIFFERENCES, in_words

    if not found:
        click.echo(f"study {search.study.study_name} has no baselines")
        return
    columns = [
        "baseline",
        "params",
        "published params",
        "GMACs",
        "published GMACs",
        "mJ",
        "published mJ",
        "published accuracy",
    ]
    task = search.settings.task.name
    show.print_table(columns, [_cells(one, task) for one in found], left=["baseline", "published accuracy"])
    for one in found:
        click.echo(f"{one.name}: {in_words(one, members)}")
    known = [one.published for one in found if one.published]
    show.note(f"Energy at initialisation: {rates_line(search)}. {DIFFERENCES if known else ''}".rstrip())
    if any(network.task != task for network in known):
        show.note(f"* for the first data set of its accuracies, the study's task is {task}: not to be compared")
    if any(network.energy_mj for network in known):
        show.note("+ of trained weights, by its authors' count (45 nm, 32-bit float, 4 time steps)")
    for remark in dict.fromkeys(network.remark for network in known if network.remark):
        show.note(remark)
    if known:
        show.note(f"Published accuracies: {'; '.join(dict.fromkeys(network.source for network in known))}")


def _cells(one: "Baseline", task: str) -> list[str]:
    """The line of a table: ours, published, ours, published."""
    network = one.published
    ours = f"{one.params:,}", f"{one.macs / 1e9:.3f}", units.significant(one.energy_mj, 4)
    theirs, accuracies = ["-"] * 3, "-"
    if network:
        mark = " " if network.task == task else "*"  # of one width, so that numbers stand below each other
        energy = "-  " if network.energy_mj is None else f"{network.energy_mj:.2f}+{mark}"
        theirs = [f"{network.params:,}{mark}", f"{network.gmacs:.3f}{mark}", energy]
        accuracies = network.accuracies_in_words
    pairs = zip(ours, theirs, strict=True)
    return [one.name, *(cell for pair in pairs for cell in pair), accuracies]
