"""autost-optuna study run, and the progress bar and closing lines that quickstart shares."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from autost_optuna import units
from autost_optuna.cli import options, show
from autost_optuna.cli.study import describe_candidate, number, quiet_optuna

if TYPE_CHECKING:
    from autost_optuna.study import Search


@click.command()
@click.argument("name")
@click.option("--trials", type=int, required=True, metavar="N", help="How many more trials to run.")
@click.option("--timeout", type=float, metavar="S", help="Stop after S seconds.")
@options.data_root
@click.option(
    "--energy",
    metavar="NAME|FILE.toml",
    help="Energy convention that is expected; another than the study's is refused.",
)
@options.device
@options.storage
def run(
    name: str,
    trials: int,
    timeout: float | None,
    data_root: Path | None,
    energy: str | None,
    device: str,
    storage: str,
) -> None:
    """Run N more trials of the study NAME; again to resume. Ctrl-C stops after the trial at hand.

    \b
    Example:
      autost-optuna study run demo --trials 200
    """
    if trials < 1:
        raise ValueError(f"trials {trials} is not positive; ask for at least 1")
    quiet_optuna()
    from autost_optuna.proxies.convention import Convention
    from autost_optuna.study import open_search

    search = open_search(name, storage, write=True)
    search.settings.check_convention(Convention.load(energy) if energy else None)
    done = run_search(search, trials, timeout=timeout, data_root=data_root, device=options.chosen_device(device))
    if done < trials and timeout is None:
        show.note(f"interrupted; the study is safe. Resume: autost-optuna study run {name} --trials {trials - done}")
        raise click.Abort


def run_search(
    search: "Search",
    trials: int,
    *,
    timeout: float | None = None,
    data_root: Path | None = None,
    device: str = "cpu",
) -> int:
    """Run trials under a progress bar and print one line about the result; returns how many were run."""
    from autost_optuna.front import knee
    from autost_optuna.runner import Progress
    from autost_optuna.runner import run as run_trials
    from autost_optuna.study import summarise

    last: list[Progress] = []
    with show.interruptible() as stopped, show.progress("searching", trials, "trials") as update:

        def on_trial(state: Progress) -> None:
            last[:] = [state]
            update(state.done, f"front {state.front_size}")

        done = run_trials(
            search,
            trials=trials,
            timeout=timeout,
            data_root=data_root,
            device=device,
            on_trial=on_trial,
            stopped=stopped,
        )
    if done:
        summary = summarise(search)
        rate = units.significant(done / last[0].duration_s, 2)
        health = summary.health
        click.echo(
            f"{units.counted(done, 'trial')} in {units.duration(last[0].duration_s)} ({rate} a second); "
            f"front: {health.front_size} of {units.counted(health.unique, 'architecture')}, hypervolume "
            f"{summary.hypervolume:.4f}, Spearman {number(health.spearman)}"
        )
        if summary.infeasible:
            show.note(
                f"{units.counted(summary.infeasible, 'trial')} outside the constraints: {search.settings.constraints}"
            )
        if summary.silent:
            show.note(f"warning: {units.counted(summary.silent, 'silent network')} left out; check the images")
        if health.warning:
            show.note(f"warning: {health.warning}")
        if health.front_size:
            chosen = knee(search.front())
            click.echo(f"knee: trial {chosen.number}, {describe_candidate(chosen)}")
    return done
