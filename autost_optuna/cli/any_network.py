"""autost-optuna audit: the energy of any torch network."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from autost_optuna import units
from autost_optuna.cli import options, printing

if TYPE_CHECKING:
    from autost_optuna.proxies.audited import Audit

DETAILS = ("module", "operation", "calls", "macs", "rate", "most", "accumulates", "kind", "energy_pj", "reason", "line")

FORMS = {"markdown": units.markdown_text, "latex": units.latex_text}


@click.command("audit", short_help="Audit the energy of any torch network.")
@click.argument("networks", nargs=-1, required=True, metavar="CODE:NAME...")
@click.option("--input", "size", required=True, metavar="CxHxW", help="Shape of one input, such as 3x32x32.")
@click.option("--steps", type=click.IntRange(1), metavar="T", help="Repeat each input T times: [T, batch, ...].")
@click.option(
    "--data",
    metavar="NAME|FILE.npy|FILE.pt",
    help="Inputs: a data set that describe takes too, or an array [N, ...]. By default standard normal noise.",
)
@options.data_root
@click.option("--images", type=click.IntRange(1), default=4, show_default=True, help="Number of inputs.")
@click.option(
    "--seed", type=int, default=0, show_default=True, help="Seed of inputs and of weights that the code draws."
)
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Weights: FILE.safetensors, FILE.pth or FILE.pt, read without running code in them.",
)
@click.option(
    "--energy",
    "conventions",
    multiple=True,
    metavar="NAME|FILE.toml",
    help="Energy convention, as describe takes it; several for a table.",
)
@click.option(
    "--plot",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Draw where the energy is spent: FILE.html, .svg, .png or .json.",
)
@options.theme
@options.methods
@click.option(
    "-f",
    "--format",
    "form",
    type=click.Choice(["table", "json", "csv", "markdown", "latex"]),
    default="table",
    help="Form of the output; LaTeX needs the package booktabs.",
)
def audit_networks(
    networks: tuple[str, ...],
    size: str,
    steps: int | None,
    data: str | None,
    data_root: Path | None,
    images: int,
    seed: int,
    checkpoint: Path | None,
    conventions: tuple[str, ...],
    plot: Path | None,
    theme: str,
    methods: bool,
    form: str,
) -> None:
    """Audit the energy of networks of any library: every product and convolution that torch carries out.

    CODE:NAME is package.module:make or FILE.py:make: a torch network, or a function that returns one. Its code is run.
    Without --checkpoint the network has the weights that its code draws, and normalises by the statistics of the batch.
    Several networks or conventions give a table with one line for each pair.

    \b
    Example:
      autost-optuna audit examples/my_network.py:make --input 1x8x8 --steps 4 --data digits
      autost-optuna audit examples/my_network.py:make --input 1x8x8 --steps 4 --energy integers-mac --energy horowitz-45nm-int8
    """
    import torch

    from autost_optuna.data import Sample
    from autost_optuna.delivery.plots.audit import any_view, draw_audit
    from autost_optuna.delivery.plots.figure import check_ending, write_figure
    from autost_optuna.proxies.convention import DEFAULT, Convention
    from autost_optuna.proxies.foreign import (
        inputs_of,
        load_weights,
        make_network,
        prepare_network,
        shape_of,
        steady_audits,
    )

    if checkpoint is not None and len(networks) > 1:
        raise ValueError("--checkpoint holds the weights of one network; audit one at a time")
    if plot is not None:
        check_ending(plot)
        if len(networks) > 1 or len(conventions) > 1:
            raise ValueError("--plot draws one network under one convention; audit one at a time")
    if methods and form == "csv":
        raise ValueError("--methods are sentences, as text or JSON; leave out -f csv")
    prices = [Convention.load(name) for name in conventions] or [DEFAULT]
    sample = Sample(data=data or "digits", data_root=data_root, images=images, seed=seed)
    batch = inputs_of(shape_of(size), data, sample)
    if steps is not None:
        batch = batch.unsqueeze(0).repeat(steps, *[1] * batch.dim())
    found: list[tuple[str, Audit]] = []
    for source in networks:
        torch.manual_seed(seed)
        network = make_network(source)
        if checkpoint is not None:
            load_weights(network, checkpoint)
        prepare_network(network, trained=checkpoint is not None)
        found += [(source, one) for one in steady_audits(source, network, batch, prices, images, steps)]
    if plot is not None:
        write_figure(draw_audit(any_view(*found[0])), plot, theme)
        printing.note(units.one_line(f"wrote {plot}"))
    if len(found) > 1:
        _print_pairs(found, form, methods)
    elif form == "json":
        printing.print_json({"network": found[0][0], **found[0][1].to_dict()})
    elif form == "csv":
        click.echo(units.csv_text([_details(row) for row in found[0][1].to_dict()["rows"]]), nl=False)
    elif form == "table":
        click.echo(str(found[0][1]))
    else:
        from autost_optuna.proxies.audited import COLUMNS, LEFT

        click.echo(FORMS[form](COLUMNS, found[0][1].cells(), left=LEFT), nl=False)
    if methods and form != "json":
        for said in dict.fromkeys(one.methods for _, one in found):
            click.echo(f"\n{units.latex_escaped(said) if form == 'latex' else said}")
    on = f"noise, seed {seed}" if data is None else data
    weights = (
        "weights as its code draws them, normalised by the batch" if checkpoint is None else f"weights of {checkpoint}"
    )
    printing.note(f"inputs: {images} of {on}; {weights}")
    for source, one in found:
        driven = [row for row in one.rows if row.kind == "ac"]
        if driven and not any(row.accumulates for row in driven):
            printing.note(
                units.one_line(f"warning: no spike passes {source} on these inputs, so its energy is meaningless")
            )


def _details(row: dict[str, Any]) -> dict[str, Any]:
    return {**{name: row[name] for name in DETAILS}, "driven_by": list(row["driven_by"])}


def _print_pairs(found: "list[tuple[str, Audit]]", form: str, methods: bool) -> None:
    """One line for each network and convention."""
    rows: list[dict[str, Any]] = [
        {
            "network": source,
            "convention": one.convention,
            "macs": sum(row.macs for row in one.rows if row.kind == "mac"),
            "accumulates": sum(row.accumulates or 0.0 for row in one.rows),
            "energy_mj": one.energy_mj,
            **({} if one.latency_ms is None else {"latency_ms": one.latency_ms}),
            **({"methods": one.methods} if methods else {}),
        }
        for source, one in found
    ]
    if form == "json":
        printing.print_json(rows)
    elif form == "csv":
        click.echo(units.csv_text(rows), nl=False)
    else:
        cells = [
            [
                row["network"],
                row["convention"],
                f"{row['macs']:,.0f}",
                f"{row['accumulates']:,.0f}",
                units.significant(row["energy_mj"], 4),
            ]
            for row in rows
        ]
        left, columns = ["network", "convention"], ["network", "convention", "MACs", "accumulates", "mJ"]
        if form == "table":
            printing.print_table(columns, cells, left=left)
        else:
            click.echo(FORMS[form](columns, cells, left=left), nl=False)
