"""autost-optuna study run, with the progress bar and closing lines that quickstart shares."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from autost_optuna import units
from autost_optuna.cli import options, printing
from autost_optuna.cli.create import warn_of_stand_in
from autost_optuna.cli.dashboard import keep_board
from autost_optuna.cli.study import describe_candidate, number, quiet_optuna
from autost_optuna.front.candidate import TABLE

if TYPE_CHECKING:
    from autost_optuna.front.convergence import Convergence, StopRule
    from autost_optuna.front.front import Box
    from autost_optuna.search.closing import Closing
    from autost_optuna.search.runner import Outcome, Resources
    from autost_optuna.search.search import Search


@click.command(short_help="Run trials of a study; run again to resume.")
@options.study_argument("name")
@click.option("--trials", type=int, metavar="N", help="Number of trials to run; with --until-converged, the most.")
@click.option("--workers", default=1, show_default=True, metavar="K", help="Processes that share the trials.")
@click.option("--until-converged", is_flag=True, help="Stop when the hypervolume has stopped rising.")
@click.option(
    "--patience",
    type=int,
    metavar="N",
    help="Converged: the hypervolume rose by less than 0.1 % over the last N trials. By default 200.",
)
@click.option(
    "--timeout",
    type=float,
    metavar="S",
    help="Stop after S seconds. Members of the front of a table of rates are measured after that.",
)
@options.data_root
@click.option(
    "--energy",
    metavar="NAME|FILE.toml",
    help="Expected energy convention; refused unless it is the study's.",
)
@options.device
@options.storage
def run(
    name: str,
    trials: int | None,
    workers: int,
    until_converged: bool,
    patience: int | None,
    timeout: float | None,
    data_root: Path | None,
    energy: str | None,
    device: str,
    storage: str,
) -> None:
    """Run N more trials of the study NAME; run again to resume. Ctrl-C stops after the current trial, twice at once.

    Several processes (--workers), and the same command on several machines with one --storage, can share the study.

    \b
    Examples:
      autost-optuna study run demo --trials 200
      autost-optuna study run demo --until-converged --workers 2
    """
    rule = _stop_rule(trials, until_converged, patience)
    if workers > 1:  # the server imports torch while this process does
        from autost_optuna.search.pool import start_server

        start_server("autost_optuna.search.workers")
    quiet_optuna()
    from autost_optuna.proxies.convention import Convention
    from autost_optuna.search.runner import Resources
    from autost_optuna.search.study import open_search

    search = open_search(name, storage, write=True)
    search.settings.check_convention(Convention.load(energy) if energy else None)
    resources = Resources(workers=workers, data_root=data_root, device=options.chosen_device(device))
    warn_of_stand_in(search.settings.data, search.settings.task)
    outcome = run_search(search, trials, until=rule, timeout=timeout, resources=resources)
    if outcome.ending == "stopped":
        left = "" if trials is None else f", with --trials {max(1, trials - outcome.done)}"
        printing.note(f"interrupted; the study is safe. Resume by the same command{left}")
        raise click.Abort
    if outcome.ending == "fruitless":
        raise RuntimeError(
            "stopped: no trial gave a candidate; create a study with wider constraints, or on images that are not blank"
        )


def _stop_rule(trials: int | None, until_converged: bool, patience: int | None) -> "StopRule | None":
    """The stop rule of the options. UsageError if they set no bound, or --patience has no rule."""
    from autost_optuna.front.convergence import StopRule

    if trials is not None and trials < 1:
        raise ValueError(f"trials {trials} is not positive; ask for at least 1")
    if trials is None and not until_converged:
        raise click.UsageError("Give --trials N, --until-converged, or both.")
    if patience is not None and not until_converged:
        raise click.UsageError("--patience says when a search has converged; give --until-converged with it.")
    if not until_converged:
        return None
    return StopRule() if patience is None else StopRule(patience=patience)


def run_search(
    search: "Search",
    trials: int | None,
    *,
    until: "StopRule | None" = None,
    timeout: float | None = None,
    resources: "Resources | None" = None,
) -> "Outcome":
    """Run trials under a progress bar, then print the results and why the run ended."""
    from autost_optuna.search.runner import Progress, Resources, RunCallbacks
    from autost_optuna.search.runner import run as run_trials

    resources = resources or Resources()
    with printing.interruptible() as stopped, printing.bars("trials") as update:

        def on_trial(state: Progress) -> None:
            update("searching", state.done, trials, f"front {state.front_size}")

        def on_measured(done: int, total: int) -> None:
            update("measuring", done, total, "members of the front")

        outcome = run_trials(
            search,
            trials=trials,
            until=until,
            timeout=timeout,
            resources=resources,
            callbacks=RunCallbacks(on_trial=on_trial, on_note=printing.note, on_measured=on_measured, stopped=stopped),
        )
    if outcome.done:
        rate = units.significant(outcome.done / outcome.duration_s, 2)
        click.echo(f"{units.counted(outcome.done, 'trial')} in {units.duration(outcome.duration_s)} ({rate} a second)")
    if closing := outcome.closing:
        _print_closing(closing)
    if outcome.ending == "exhausted":
        size, constraints = search.settings.space.size, search.settings.constraints
        every = "every architecture that keeps the constraints is" if constraints else f"all {size:,} architectures are"
        click.echo(f"the space is exhausted: {every} evaluated")
    if outcome.evidence is not None:
        by_table = "by the table of rates, " if search.settings.rates == TABLE else ""
        before = "" if outcome.done else "nothing was run: "
        click.echo(before + by_table + evidence_line(outcome.evidence, search.settings.box))
    _print_result(search)
    if outcome.done:
        keep_board(search, resources.data_root)
    return outcome


def _print_closing(closing: "Closing") -> None:
    if closing.measured:
        spent = units.duration(closing.duration_s)
        click.echo(f"measured {units.counted(closing.measured, 'member')} of the front in {spent}")
    if closing.left:
        printing.note(
            f"{units.counted(closing.left, 'member')} of the front known by the table only; the next run measures them"
        )


def _print_result(search: "Search") -> None:
    """Health, hypervolume and knee of a search."""
    from autost_optuna.front.picks import knee
    from autost_optuna.search.summary import summarise

    summary = summarise(search)
    health = summary.health
    if health.front_size:
        click.echo(
            f"front: {health.front_size} of {units.counted(health.unique, 'architecture')} "
            f"({health.nondominated_share:.1%} non-dominated; {health.unique_share or 0:.1%} of the trials unique), "
            f"hypervolume {summary.hypervolume:.4f}, Spearman {number(health.spearman)}"
        )
    if summary.infeasible:
        printing.note(
            f"{units.counted(summary.infeasible, 'trial')} outside the constraints: {search.settings.constraints}"
        )
    if summary.outside:
        printing.note(
            f"{units.counted(summary.outside, 'trial')} outside the space: an enqueued value is not among its choices"
        )
    if summary.silent:
        printing.note(f"warning: {units.counted(summary.silent, 'silent network')} left out; check the images")
    if health.warning:
        printing.note(f"warning: {health.warning}")
    if health.front_size:
        chosen = knee(search.front())
        click.echo(f"knee: trial {chosen.number}, {describe_candidate(chosen)}")


def evidence_line(evidence: "Convergence", box: "Box") -> str:
    """Whether a search has converged, and why, with the reference point of its hypervolume."""
    from autost_optuna.front.convergence import convergence_in_words

    if evidence.share is None:
        return convergence_in_words(evidence)
    corner = f"{units.count(box.worst_flops, 'FLOPs')}, {units.energy(box.worst_energy_mj)}"
    return f"{convergence_in_words(evidence)}, logarithmic axes, reference point {corner}"
