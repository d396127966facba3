"""The texts of a report: answers, cards, and how far to trust its figures."""

from collections.abc import Sequence
from dataclasses import dataclass

from autost_optuna import units
from autost_optuna.delivery.board import own_note
from autost_optuna.delivery.plots.points import export_command
from autost_optuna.front.candidate import MEASURED, Candidate
from autost_optuna.front.health import Health
from autost_optuna.front.picks import Pick, numbers_of, pick
from autost_optuna.proxies.energy import total_mj
from autost_optuna.proxies.goals import GOALS, further
from autost_optuna.proxies.methods import charged
from autost_optuna.search.baselines import Baseline, sizes_of, standing_in_words
from autost_optuna.search.bills import Bill, bills_of, costliest
from autost_optuna.search.search import Search
from autost_optuna.search.settings import Settings
from autost_optuna.search.summary import reached
from autost_optuna.search.tables import about_table
from autost_optuna.training.calibration import group, measured_front
from autost_optuna.training.record import Record
from autost_optuna.units import StrPath

ROWS = 20  # most members in the table of the front; `study front` prints all
OPERATIONS = 5  # most operations in a pick's card
# Replaces a spike rate if no spikes are read; the page explains it.
NO_SPIKES = {"mac": "real", "state": "states", "static": "-"}
Rows = tuple[tuple[str, ...], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Card:
    """A pick: why it stands out, its figures, its most expensive operations if measured, and what to do with it."""

    name: str
    trial: str
    architecture: str
    figures: Rows
    operations: Rows
    rest: str
    commands: tuple[str, ...]


def answer(knee: Candidate, members: Sequence[Candidate], health: Health) -> str:
    """The answer of a study: how many candidates no other beats in both objectives, and which one is the knee."""
    most = members[-1]
    shape = knee.architecture.in_words(blocks=False)
    return (
        f"Of {units.counted(health.unique, 'architecture')} tried, no other beats {len(members):,} in both. The knee, where "
        f"more FLOPs begin to cost more energy, is trial {knee.number} ({shape}), with {units.count(knee.flops, 'FLOPs')} at "
        f"{units.energy(knee.energy_mj)} per image: {knee.flops / most.flops:.0%} of the most FLOPs found, at "
        f"{knee.energy_mj / most.energy_mj:.0%} of their energy."
    )


def sentence(text: str) -> str:
    """`text` with an initial capital and a final full stop."""
    return f"{text[:1].upper()}{text[1:]}."


def note_said(search: Search) -> str:
    """A person's note on the study in optuna-dashboard."""
    from optuna_dashboard import get_note

    return "\n\n".join(part for part in own_note(get_note(search.study)) if part)


def bills(search: Search, picks: Sequence[Pick], data_root: StrPath | None) -> tuple[list[Bill], str]:
    """The bills of the picks, and why there are none, if so; the full reason may name a path on this machine."""
    try:
        return bills_of(search, picks, data_root), ""
    except ValueError:
        if data_root is not None:  # it was requested
            raise
        says = units.command("study", "plot", search.study.study_name, "--figure", "stages", "-o", "stages.html")
        return [], (
            f"Energies are not split by operation here: the study's images of {search.settings.data} have moved, or it was "
            f"made with other packages. {says} says more."
        )


def objectives(settings: Settings) -> Rows:
    """The objectives of the search if there are more than FLOPs and energy, and which of them the report covers."""
    if not further(settings.objectives):
        return ()
    labels = ", ".join(GOALS[name].label for name in settings.objectives)
    return (("objectives", f"{labels}; hypervolume, picks and tables here are of the front of FLOPs and energy alone"),)


def task(settings: Settings) -> str:
    """A task in words: size, channels, classes, time steps."""
    task = settings.task
    frames = "frames of events" if task.events else "time steps"
    size = f"{task.image_size} x {task.image_size}, {units.counted(task.channels, 'channel')}"
    return f"{task.name}: {size}, {task.num_classes} classes, {task.time_steps} {frames}"


def seeds_said(settings: Settings) -> str:
    """The weight seeds in words."""
    return f"weights at initialisation, {units.seeds(settings.seed, settings.seeds)}"


def table_said(search: Search) -> str:
    """That the rates come from a table, and its error; nothing if all networks were measured."""
    about = about_table(search.study)
    if search.settings.rates == MEASURED or about is None:
        return ""
    return f"; by a {about.in_words}; members of the front without ~ are measured"


def prices(settings: Settings) -> str:
    """What a convention charges, with the source of each price."""
    return "; ".join(f"{said} ({source})" for said, source in charged(settings.convention))


def few(search: Search, members: Sequence[Candidate]) -> list[Candidate]:
    """The members in the table: if there are many, those with the largest joint hypervolume."""
    return pick(members, search.settings.box, min(ROWS, len(members)))


def members_said(name: str, members: int) -> str:
    """The caption of the table of members."""
    if members <= ROWS:
        return f"All {units.counted(members, 'member')} of the front, by ascending energy; * the knee."
    return (
        f"The {ROWS} of {members:,} members that dominate most together, by ascending energy, * the knee; "
        f"{units.command('study', 'front', name)} lists all."
    )


def member(one: Candidate, knee: Candidate) -> tuple[str, ...]:
    """A row of the table of members."""
    return (
        f"{one.number}{'*' if one.number == knee.number else ''}",
        one.architecture.in_words(),
        units.significant(one.flops / 1e9, 4),
        one.mark + units.significant(one.energy_mj, 4),
        units.significant(one.params / 1e6),
    )


def baseline(group: Sequence[Baseline], members: Sequence[Candidate]) -> tuple[str, ...]:
    """A row of the table of baselines."""
    one = group[0]
    return (
        one.label,
        sizes_of(group) or one.architecture.in_words(),
        units.significant(one.flops / 1e9, 4),
        units.significant(one.energy_mj, 4),
        units.significant(one.params / 1e6),
        standing_in_words(one, members),
    )


def card(name: str, chosen: Pick, bill: Bill | None) -> Card:
    """The card of a pick: its cost, and its most expensive operations."""
    one, spread = chosen.candidate, chosen.candidate.spread
    charges = () if bill is None else bill.charges
    dear, whole = costliest(charges, OPERATIONS), total_mj(charges)
    left = len(charges) - len(dear)
    return Card(
        name=chosen.name,
        trial=f"trial {one.number}",
        architecture=one.architecture.in_words(),
        figures=(
            ("FLOPs", units.count(one.flops, "FLOPs")),
            (
                "energy",
                f"{units.energy(one.energy_mj)} ({units.energy(spread.low_mj)} to {units.energy(spread.high_mj)}{one.remark})",
            ),
            ("parameters", units.parameters(one.params)),
            ("spike rate", one.rate_in_words),
            ("without spikes", f"{units.energy(one.quantised_mj)}, 8 bits"),
        ),
        operations=tuple(
            (
                charge.name,
                NO_SPIKES[charge.kind] if charge.rate is None else f"{charge.rate:.3f}",
                units.energy(charge.energy_pj * 1e-9),
                f"{charge.energy_pj * 1e-9 / whole:.1%}",
            )
            for charge in dear
        ),
        rest=f"and {units.counted(left, 'operation')} with {1 - total_mj(dear) / whole:.1%}" if left > 0 else "",
        commands=(
            units.command("describe", f"{name}:{one.number}"),
            units.command("train", name, "--trial", str(one.number)),
            export_command(name, str(one.number)),
        ),
    )


def health_rows(found: Health, hypervolume: float, others: tuple[int, int, int]) -> Rows:
    """Rows on the trials and on how well the objectives separate them."""
    infeasible, silent, failed = others
    unique = "" if found.unique_share is None else f", {found.unique_share:.1%} of the trials"
    spearman = "-" if found.spearman is None else f"{found.spearman:.4f}"
    return (
        (
            "trials",
            f"{found.trials:,} complete, {infeasible:,} outside the constraints, {silent:,} silent, {failed:,} failed",
        ),
        ("architectures", f"{found.unique:,}{unique}"),
        ("front", f"{units.counted(found.front_size, 'member')}, {found.nondominated_share:.1%} of the architectures"),
        ("hypervolume", f"{hypervolume:.4f} of the space's box, in logarithmic axes"),
        ("Spearman", f"{spearman} between FLOPs and energy; 1 would make them one objective"),
    )


def exact(search: Search) -> str:
    """How close the search came to the exact front, or the command that measures it."""
    exact, near = search.exact(), reached(search)
    if exact is None or near is None:
        measures = units.command("study", "exact", search.study.study_name)
        return f"Not known. {measures} measures it unless the space is too large."
    soon = (
        ""
        if near.trials_to_95 is None
        else f" It reached 95 % of it after {units.counted(near.trials_to_95, 'trial')}."
    )
    spread = exact.spread
    sure = (
        ""
        if spread is None
        else f" Within a class, energies of {units.counted(spread.samples, 'further architecture')} are {spread.low:+.2%} to "
        f"{spread.high:+.2%} from the measured one."
    )
    basis = f"from {exact.classes:,} classes of equal FLOPs" if exact.table is None else "by a table of rates"
    sure += "" if exact.table is None else f" The {exact.table.in_words}."
    return (
        f"The front of the whole space, {basis}, has {len(exact.members):,} members and "
        f"hypervolume {exact.hypervolume:.4f}; the search has reached {near.share:.2%} of it.{soon}{sure}"
    )


def trained(trainings: Sequence[Record], candidates: Sequence[Candidate]) -> list[tuple[str, ...]]:
    """One row per trained architecture and recipe, by ascending predicted energy; a star marks non-dominated ones."""
    numbers = numbers_of(candidates)
    groups = group(trainings)
    front = measured_front(groups)
    return [
        (
            f"{numbers.get(one.architecture.key, '?')}{'*' if one in front else ''}",
            one.architecture.in_words(),
            units.energy(one.predicted_mj),
            units.energy(one.energy_mj.mean),
            f"{one.ratio:.2f}",
            units.share(one.validation_accuracy.mean, one.validation_accuracy.deviation),
            units.share(one.test_accuracy.mean, one.test_accuracy.deviation),
            str(len(one.runs)),
            f"{one.runs[0].recipe_name} on {one.runs[0].data}",
        )
        for one in groups
    ]
