"""The output of commands: tables, JSON and CSV on stdout, progress and notes on stderr."""

import json
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

import click

# Columns of a progress bar without its note; on a narrow terminal the bar itself shrinks first, then the note.
REST = 58
QUIET = "autost_optuna.quiet"  # a key in the meta of click's context, which a command shares with its groups


def is_quiet() -> bool:
    """Whether --quiet was given."""
    context = click.get_current_context(silent=True)
    return context is not None and QUIET in context.meta


def note(text: str) -> None:
    """Print a line for people on stderr; with --quiet, only if it is a warning or an error."""
    if not is_quiet() or text.startswith(("warning: ", "error: ")):
        click.echo(text, err=True)


def is_terminal() -> bool:
    """Whether a person sees stderr, and so a progress bar; variables that force colours do not count."""
    return sys.stderr is not None and sys.stderr.isatty()


def print_json(data: object) -> None:
    """Print JSON, and nothing else, on stdout."""
    click.echo(json.dumps(data, indent=2))


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, left: Sequence[str] = (), fold: Sequence[str] = ()
) -> None:
    """Print aligned columns: numbers to the right, names in `left` to the left, lists in `fold` on several lines if needed."""
    from rich.console import Console
    from rich.measure import Measurement
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for index, column in enumerate(columns):
        if column in fold:
            table.add_column(column, overflow="fold", min_width=8)
        else:  # never cut a number or a name, however narrow the terminal
            widest = max([len(column), *(len(row[index]) for row in rows)])
            table.add_column(column, justify="left" if column in left else "right", no_wrap=True, min_width=widest)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    terminal = sys.stdout is not None and sys.stdout.isatty()
    console = Console(highlight=False, force_terminal=terminal, width=None if terminal else 160)
    whole = Measurement.get(
        console, console.options.update_width(sys.maxsize), table
    )  # a terminal may be even narrower
    console.width = max(console.width, whole.minimum)
    with console.capture() as printed:
        console.print(table)
    # At once: a reader may end after a line.
    click.echo("\n".join(line.rstrip() for line in printed.get().splitlines()))


@contextmanager
def bars(unit: str) -> Iterator[Callable[..., None]]:
    """Progress bars on stderr with rate and time left, or only the rate without a total; nothing if it is not a terminal.

    Yields update(label, done, total, note, units per step, passing): one bar per label; a `passing` bar is removed when it
    is done.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
    from rich.table import Column

    console, whole = Console(stderr=True), Column(no_wrap=True)
    progress = Progress(
        TextColumn("{task.description}", table_column=whole),
        BarColumn(bar_width=28),  # the only column that gives way on a narrow terminal
        MofNCompleteColumn(table_column=whole),
        TimeRemainingColumn(table_column=whole),
        TextColumn("{task.fields[rate]}"),
        TextColumn("{task.fields[note]}", table_column=Column(no_wrap=True, max_width=max(10, console.width - REST))),
        console=console,
        disable=is_quiet() or not is_terminal(),
    )
    known: dict[str, TaskID] = {}
    with progress:

        def update(
            label: str, done: int, total: int | None, text: str, scale: float = 1, passing: bool = False
        ) -> None:
            if label not in known:
                known[label] = progress.add_task(label, total=total, rate="", note="")
            task = next(task for task in progress.tasks if task.id == known[label])
            rate = f"{task.speed * scale:.{0 if scale > 1 else 1}f} {unit}/s" if task.speed else ""
            progress.update(known[label], completed=done, total=total, note=text, rate=rate)
            if passing and done == total:
                progress.remove_task(known.pop(label))

        yield update


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Ctrl-C or SIGTERM once lets the current trial end, twice interrupts at once. Yields whether it was pressed."""
    pressed: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        if pressed:
            raise KeyboardInterrupt
        pressed.append(number)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(pressed)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
