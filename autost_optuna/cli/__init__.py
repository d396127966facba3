"""The command line: parse, call one public function, print. Heavy imports wait until a command runs."""

import contextlib
import errno
import os
import select
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any, TextIO

import click

from autost_optuna import __version__
from autost_optuna.cli import options
from autost_optuna.cli.adopt import adopt
from autost_optuna.cli.any_network import audit_networks
from autost_optuna.cli.audit import describe
from autost_optuna.cli.baselines import baseline
from autost_optuna.cli.copy import copy, rescue
from autost_optuna.cli.create import create
from autost_optuna.cli.dashboard import dashboard
from autost_optuna.cli.exact import exact
from autost_optuna.cli.front import front, plot
from autost_optuna.cli.manage import delete, fork
from autost_optuna.cli.networks import export, quickstart
from autost_optuna.cli.report import report
from autost_optuna.cli.run import run
from autost_optuna.cli.show import list_studies, show_study
from autost_optuna.cli.study import study
from autost_optuna.cli.train import train
from autost_optuna.cli.validate import validate
from autost_optuna.units import one_line


class Program(click.Group):
    """A group whose errors are one line on stderr, with exit code 2 for wrong input, 1 for a failed run, 130 for Ctrl-C."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run as a program: it always exits and never shows a traceback."""
        # torch's threads spin while they wait for each other, for long if another process needs the cores (measured: 20
        # times slower beside one other busy process, 4 times with this bound, and no slower alone). Read when torch loads.
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
        warnings.formatwarning = _warning
        try:
            with _interrupts_after_imports():
                code = super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
            sys.exit(code if isinstance(code, int) else 0)
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.format_message(), err=True)
            sys.exit(2)
        except click.UsageError as error:
            place = error.ctx.command_path if error.ctx else "autost-optuna"
            _fail(f"{error.format_message()} See {place} --help.", 2)
        except (click.Abort, KeyboardInterrupt):
            _fail("interrupted", 130)
        except ValueError as error:
            _fail(str(error), 2)
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
            place = f"{error.filename}: " if error.filename else ""
            _fail(f"{place}{error.strerror or error}; free space or choose another place", 1 if full else 2)
        except click.ClickException as error:
            _fail(error.format_message(), 2)
        except MemoryError:
            _fail("out of memory; choose fewer images or a smaller network", 1)
        except RuntimeError as error:
            _fail(str(error), 1)
        except Exception as error:
            _fail(f"unexpected {type(error).__name__}: {error}; please report it with the command that you typed", 1)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. It is not a failure if the reader of stdout has ended, as with `| head`."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # handled here, because click itself exits with 1 and prints nothing
            gone = [stream for stream in (sys.stdout, sys.stderr) if _has_no_reader(stream)]
            if not gone:
                raise RuntimeError("a process that this one was connected to has ended; repeat the command") from None
            for stream in gone:  # the rest of its buffer is written at exit, and is lost
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            return 0
        except Exception as error:
            if _follows_interrupt(error):
                raise _Interrupted from error
            raise


class _Interrupted(KeyboardInterrupt):
    """Ctrl-C. A plain KeyboardInterrupt out of `exec`, even if caught, makes `python -m` end by the signal, not with 130."""


def _follows_interrupt(error: BaseException) -> bool:
    """Whether an error came up because Ctrl-C left something half done, such as the release of a journal's lock."""
    earlier = error.__context__
    return earlier is not None and (isinstance(earlier, KeyboardInterrupt) or _follows_interrupt(earlier))


@contextlib.contextmanager
def _interrupts_after_imports() -> Iterator[None]:
    """Delay Ctrl-C to the end of an import: interrupted, torch's import aborts the process or ignores the signal."""
    main_thread = threading.main_thread()

    def interrupt(number: int, frame: FrameType | None) -> None:
        if not _imports(frame):
            raise _Interrupted
        again = threading.Timer(0.05, signal.pthread_kill, (main_thread.ident, number))
        again.daemon = True
        again.start()

    # Do not catch it elsewhere: in a thread, or if a shell runs this in the background and ignores the signal.
    if threading.current_thread() is main_thread and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, signal.default_int_handler)
    else:
        yield


def _imports(frame: FrameType | None) -> bool:
    """Whether the program is importing a module, as opposed to being run by an import."""
    while frame is not None and frame.f_code is not Program.main.__code__:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


def _has_no_reader(stream: TextIO) -> bool:
    """Whether a stream is a pipe whose other end is closed."""
    poll = select.poll()
    with contextlib.suppress(OSError, TypeError, ValueError):  # no stream, a closed stream, or one without a file
        poll.register(stream, 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def _warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """A warning for people: one line, without its place in the program."""
    return f"warning: {one_line(str(message))}\n"


def _fail(message: str, code: int) -> None:
    click.echo(f"error: {one_line(message)}", err=True)
    sys.exit(code)


EPILOG = """
\b
Tab completes commands, options and studies with one line in your shell's file:
  ~/.bashrc  eval "$(_AUTOST_OPTUNA_COMPLETE=bash_source autost-optuna)"
  ~/.zshrc   eval "$(_AUTOST_OPTUNA_COMPLETE=zsh_source autost-optuna)"
  ~/.config/fish/completions/autost-optuna.fish
             _AUTOST_OPTUNA_COMPLETE=fish_source autost-optuna | source
"""


@click.group(cls=Program, no_args_is_help=True, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="autost-optuna")
def main() -> None:
    """Find spiking transformers with the best trade of capacity against energy, without training them.

    \b
    Start here:
      autost-optuna quickstart
    Or step by step:
      autost-optuna study create demo --space tiny
      autost-optuna study run demo --trials 200
      autost-optuna study front demo
      autost-optuna study plot demo -o front.html
    """


STUDY = (create, list_studies, show_study, adopt, run, exact, baseline, front, plot, report, fork, copy, rescue, delete)
for member in STUDY:
    study.add_command(member)
for command in (study, describe, audit_networks, train, validate, export, quickstart, dashboard):
    main.add_command(command)
for command in (main, *main.commands.values(), *study.commands.values()):
    options.quiet(command)
