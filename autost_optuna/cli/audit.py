"""autost-optuna describe: the audit of an architecture's energy, operation by operation."""

import contextlib
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from autost_optuna import units
from autost_optuna.cli import options, printing
from autost_optuna.cli.baselines import print_family
from autost_optuna.cli.create import warn_of_stand_in
from autost_optuna.cli.stored import headline, print_stored, spread_lines
from autost_optuna.cli.study import describe_candidate, quiet_optuna
from autost_optuna.front.candidate import INITIALISATION
from autost_optuna.proxies.goals import GOALS

if TYPE_CHECKING:
    from autost_optuna.data import Sample
    from autost_optuna.search.describe import Description
    from autost_optuna.search.settings import Settings


@click.command(short_help="Audit the energy of an architecture.")
@click.argument("architecture")
@click.option(
    "--task",
    metavar="NAME",
    help=f"{options.TASKS} By default the study's or the published network's, else cifar10.",
)
@options.data
@options.data_root
@click.option(
    "--images",
    type=int,
    metavar="N",
    help="Number of images to measure rates on. By default the study's, else 4; 64 for trained weights.",
)
@click.option("--seed", type=int, metavar="N", help="Seed of weights and images. By default the study's, else 0.")
@click.option(
    "--seeds",
    type=int,
    metavar="K",
    help="Mean over K initialisations, each on its own N images. By default the study's, else 1.",
)
@options.energy
@click.option(
    "--counting",
    type=click.Choice(["rate", "exact"]),
    default="rate",
    show_default=True,
    help="Accumulates as rate x MACs, or counted one by one.",
)
@click.option(
    "--checkpoint", type=click.Path(path_type=Path), metavar="FILE", help="Trained weights; rates on test images."
)
@click.option("--proxies", is_flag=True, help="Add all training-free proxies, which take some seconds.")
@click.option(
    "--plot", type=click.Path(path_type=Path), metavar="FILE", help="Draw where the energy is spent: FILE.html."
)
@options.theme
@options.methods
@options.device
@options.output_format
@options.storage
def describe(
    architecture: str,
    task: str | None,
    data: str | None,
    data_root: Path | None,
    images: int | None,
    seed: int | None,
    seeds: int | None,
    energy: str | None,
    counting: str,
    checkpoint: Path | None,
    proxies: bool,
    plot: Path | None,
    theme: str,
    methods: bool,
    device: str,
    form: str,
    storage: str,
) -> None:
    """Audit the energy of ARCHITECTURE: every operation with its MACs, its spike rate and its pJ.

    ARCHITECTURE is a published network such as spikingformer-4-384, FILE.json, FILE.yaml (AutoST's), STUDY:TRIAL,
    STUDY:exact:N for member N of an exact front, or "C=384,depth=4,heads=8,ratio=4". The name of a family lists its
    networks: spikformer, spikingformer, sdt, qkformer, maxformer, spikingresformer, autost. Spikes come from the untrained
    network, or from the trained network in --checkpoint. For STUDY:TRIAL, the stored figures are printed if the study's
    images are not on this machine.

    \b
    Example:
      autost-optuna describe "C=256,depth=2,heads=4/8,ratio=4" --task digits
      autost-optuna describe spikingformer-4-384
    """
    quiet_optuna()
    from autost_optuna.data import Sample
    from autost_optuna.delivery.plots.audit import audit_view, draw_audit
    from autost_optuna.delivery.plots.figure import check_ending, write_figure
    from autost_optuna.network.families import FAMILIES, is_network, published
    from autost_optuna.network.task import Task
    from autost_optuna.proxies.convention import DEFAULT, Convention
    from autost_optuna.search.catalogue import MEMBER, find_architecture
    from autost_optuna.search.describe import describe as describe_architecture
    from autost_optuna.search.describe import describe_scores
    from autost_optuna.training.checkpoint import load_trained

    if plot is not None:
        check_ending(plot)
    if methods and form == "csv":
        raise ValueError("--methods are sentences, as text or JSON; leave out -f csv")
    if proxies and (checkpoint is not None or form == "csv"):
        raise ValueError("--proxies are of an untrained network, as a table or JSON; leave out --checkpoint and -f csv")
    if architecture.lower() in FAMILIES:
        print_family(architecture.lower(), form)
        return
    chosen, search = find_architecture(architecture, storage)
    stored = search.settings if search else None
    asked = Task.load(task) if task else stored.task if stored else None
    trained, info = (None, None) if checkpoint is None else load_trained(checkpoint, chosen, asked)
    usual = published(architecture).task if is_network(architecture) else "cifar10"
    on = asked or (trained.task if trained else Task.preset(usual))
    convention = Convention.load(energy) if energy else stored.convention if stored else DEFAULT
    given = {"images": images, "seed": seed, "seeds": seeds}
    known = {**_defaults(stored, info), **{name: value for name, value in given.items() if value is not None}}
    if data is not None or data_root is not None:
        known |= {"data": data or known["data"], "data_root": data_root}
    known["data"] = options.chosen_data(known["data"], known["data_root"], on)
    if info and known["data"] == info["data"]:
        known["frames"] = info["recipe"].get("frames", "count")  # the data that the network was trained on
    sample = Sample(**known, device=options.chosen_device(device))
    same = stored is not None and checkpoint is None and on == stored.task and _same_images(sample, stored)
    is_trial = search is not None and MEMBER not in architecture
    recall = (
        is_trial
        and same
        and data_root is None
        and energy is None
        and counting == "rate"
        and not proxies
        and not methods
        and plot is None
    )
    found = None
    with contextlib.suppress(*([ValueError] if recall else [])):
        found = describe_architecture(chosen, on, sample, convention=convention, counting=counting, trained=trained)
    others = same and stored is not None and found is not None and found.fingerprint != stored.fingerprint
    if search is not None and (found is None or (others and recall)):
        print_stored(search, architecture, form)
        return
    assert found is not None
    if others:
        printing.note("warning: these images are not those of the study, so the energies differ from the study's")
    warn_of_stand_in(sample.data, on)
    if plot is not None:
        write_figure(draw_audit(audit_view(found)), plot, theme)
        printing.note(units.one_line(f"wrote {plot}"))
    if is_network(architecture):
        printing.note(f"as published for {usual}: {published(architecture).in_words}")
    _print(found, form, describe_scores(chosen, on, sample, convention=convention) if proxies else {}, methods=methods)


def _same_images(sample: "Sample", stored: "Settings") -> bool:
    """Whether rates use the same data set, number of images and seeds as in the study."""
    return all(getattr(sample, name) == getattr(stored, name) for name in ("data", "images", "seed", "seeds"))


def _defaults(stored: "Settings | None", info: dict[str, Any] | None) -> dict[str, Any]:
    """The defaults of a sample: the study's settings; for trained weights, the data that they were trained on."""
    known: dict[str, Any] = {"data": None, "data_root": None, "images": 4, "seed": 0, "seeds": 1}
    if stored:
        root = Path(stored.data_root) if stored.data_root else None
        known = {name: getattr(stored, name) for name in known} | {"data_root": root}
    if info:
        same = known["data"] == info["data"]
        known |= {"data": info["data"], "images": 64, "seeds": 1} | ({} if same else {"data_root": None})
    return known


def _print(description: "Description", form: str, scores: dict[str, float], *, methods: bool) -> None:
    from autost_optuna.proxies.energy import charge_rows
    from autost_optuna.proxies.quantised import SOURCE

    rows = charge_rows(description.charges)
    if form == "csv":
        click.echo(units.csv_text(rows), nl=False)
    elif form == "json":
        finite = {name: value if math.isfinite(value) else None for name, value in scores.items()}
        counted = {
            "counting": description.counting,
            "rate_mj": description.rate_mj,
            "exact_mj": description.exact_mj,
            **({} if description.latency_ms is None else {"latency_ms": description.latency_ms}),
            "quantised": {**asdict(description.quantised), "source": SOURCE},
        }
        head = headline(description.candidate, description.task, description.convention)
        counted |= {"methods": description.methods} if methods else {}
        printing.print_json({**head, **counted, **({"proxies": finite} if scores else {}), "operations": rows})
    else:
        _print_audit(description)
        if scores:
            better = {"maximize": "more", "minimize": "less"}
            cells = [[n, units.count(v), f"{better[GOALS[n].direction]} is better"] for n, v in scores.items()]
            printing.print_table(["proxy", "value", ""], cells, left=["proxy", ""])
        if methods:
            click.echo(f"\n{description.methods}")
    if description.candidate.silent:
        remedy = "give real images" if description.candidate.weights == INITIALISATION else "train it again"
        printing.note(f"warning: the network is silent on these images, so its energy is meaningless; {remedy}")


def _print_audit(description: "Description") -> None:
    from autost_optuna.proxies.energy import total_pj

    charges, total = description.charges, total_pj(description.charges)
    bits = any(charge.moved_bits for charge in charges)
    whole = units.whole([charge.energy_pj for charge in charges])
    rows = [
        [
            charge.name,
            f"{charge.macs:,}",
            str(charge.steps),
            (charge.driven_by or "").removeprefix(f"{charge.stage}.")
            + (f", to {charge.most}" if charge.most > 1 else ""),
            "" if charge.rate is None else f"{charge.rate:.4f}",
            "" if charge.accumulates is None else f"{charge.accumulates:,.0f}",
            charge.kind.upper() if charge.macs else charge.kind,
            *([f"{charge.moved_bits:,.0f}"] if bits else []),
            f"{pj:,}",
            f"{charge.energy_pj / total:.1%}" if total else "",
        ]
        for charge, pj in zip(charges, whole, strict=True)
    ]
    performed = sum(charge.macs * charge.steps for charge in charges)
    moved = [f"{sum(charge.moved_bits for charge in charges):,.0f}"] if bits else []
    added = f"{sum(charge.accumulates or 0 for charge in charges):,.0f}"
    rows.append(["total (all steps)", f"{performed:,}", "", "", "", added, "", *moved, f"{sum(whole):,}", "100.0%"])
    columns = [
        "operation",
        "MACs",
        "steps",
        "driven by",
        "rate",
        "accumulates",
        "kind",
        *(["bits"] if bits else []),
        "pJ",
        "share",
    ]
    printing.print_table(columns, rows, left=["operation", "driven by"])
    for line in summary_lines(description):
        click.echo(line)
    candidate = description.candidate
    printing.note(f"rates: {candidate.provenance}, mean {candidate.rate_in_words}")


def summary_lines(description: "Description") -> list[str]:
    """The lines below the table: the candidate, its spread, the other way of counting, the network without spikes."""
    from autost_optuna.proxies.quantised import INT8

    candidate, quantised = description.candidate, description.quantised
    lines = [describe_candidate(candidate)]
    if (latency_ms := description.latency_ms) is not None:
        lines.append(f"latency of one inference: {units.significant(latency_ms)} ms")
    lines += spread_lines(candidate)
    other, name = (
        (description.exact_mj, "exactly (padding, coincident spikes)")
        if description.counting == "rate"
        else (description.rate_mj, "by rates")
    )
    change = other / candidate.energy_mj - 1 if candidate.energy_mj else 0.0
    lines.append(f"counted {name}: {units.energy(other)}, {change:+.2%}")
    convention = description.convention
    others = convention.charges_neurons or convention.step_pj or convention.pj_per_mac or convention.layer.pj
    moved = f", bits and steps as in {candidate.convention}" if others else ""
    lines.append(
        f"without spikes, one pass of 8-bit MACs at {INT8.mac.pj} pJ{moved}: {units.energy(quantised.int8_mj)}; with "
        f"{quantised.activation_bits}-bit activations {units.energy(quantised.activation_bits_mj)}"
    )
    own = _break_even(quantised.break_even_rate, quantised.cheaper)
    lines.append(f"break-even spike rate under {candidate.convention}, all rates scaled alike: {own}")
    alike = _break_even(quantised.break_even_rate_int8, quantised.cheaper_int8)
    lines.append(
        f"the spiking network with 8-bit arithmetic and weights too ({INT8.name}): {units.energy(quantised.spiking_int8_mj)}, "
        f"break-even {alike}"
    )
    return lines


def _break_even(rate: float | None, cheaper: str) -> str:
    words = {
        "always": "none, cheaper at every rate that can be",
        "never": "none, dearer at every rate",
        "unknown": "unknown, no spike was seen",
    }
    return f"{rate:.3f}" if rate is not None else words[cheaper]
