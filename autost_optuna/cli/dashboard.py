"""autost-optuna dashboard: optuna-dashboard on the storage, and the content that other commands store for it."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from autost_optuna.cli import options, printing
from autost_optuna.units import StrPath, one_line

if TYPE_CHECKING:
    from autost_optuna.search.search import Search


def keep_board(search: "Search", data_root: StrPath | None = None) -> None:
    """Update what the dashboard shows of a search, as the last step: if it fails, the study is still safe."""
    from autost_optuna.delivery.board import write_board

    try:
        write_board(search, data_root)
    except Exception as error:  # from the storage, a file or a figure: one warning covers all
        reason = one_line(getattr(error, "strerror", None) or str(error) or type(error).__name__)
        printing.note(
            f"warning: what the dashboard shows of the study is not up to date ({reason}); the study itself is safe"
        )


@click.command(short_help="Open optuna-dashboard on the storage.")
@click.option("--port", default=8080, show_default=True, type=click.IntRange(1, 65535), help="Port on 127.0.0.1.")
@click.option(
    "--artifacts",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder of learning curves. By default the folder beside the storage's file.",
)
@options.storage
def dashboard(port: int, artifacts: Path | None, storage: str) -> None:
    """Open optuna-dashboard on the storage, at http://127.0.0.1:PORT/, with the learning curves of trained networks.

    \b
    Example:
      autost-optuna dashboard --port 8080
    """
    import contextlib
    from wsgiref.simple_server import make_server

    from autost_optuna.delivery.dashboard import dashboard as served
    from autost_optuna.storage.artifacts import folder_of, store_of
    from autost_optuna.storage.location import why_read_only
    from autost_optuna.storage.storage import open_storage

    backend, curves = open_storage(storage), store_of(storage, artifacts)
    try:
        server = make_server("127.0.0.1", port, served(backend, curves))
    except OSError:
        raise ValueError(f"port {port} on 127.0.0.1 is taken; choose another with --port") from None
    if curves is None and (folder := folder_of(storage)) is not None:
        printing.note(f"note: {folder} cannot be made, so files can be neither seen nor added")
    if reason := why_read_only(storage):
        printing.note(f"note: the storage can only be read ({reason}), so what is changed in the dashboard is not kept")
    click.echo(f"optuna-dashboard at http://127.0.0.1:{port}/ (Ctrl-C ends it)")
    with server, contextlib.suppress(KeyboardInterrupt):
        server.serve_forever()
