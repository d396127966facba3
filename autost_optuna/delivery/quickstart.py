"""All steps of a search on built-in data; steps that are already done are skipped."""

from pathlib import Path

from autost_optuna.delivery.export import Contents, export, load
from autost_optuna.delivery.plots.figure import write_figure
from autost_optuna.delivery.plots.front import draw_front, front_view
from autost_optuna.front.candidate import Candidate
from autost_optuna.network.task import Task
from autost_optuna.search.search import Search
from autost_optuna.search.settings import Plan
from autost_optuna.search.study import create as create_study
from autost_optuna.space.space import Space
from autost_optuna.storage.location import DEFAULT
from autost_optuna.training.checkpoint import make_folder
from autost_optuna.units import StrPath

NAME = "quickstart"

# Narrower than AutoST's spaces, which suit larger images: 8x8 digits need little, so that training takes seconds.
SPACE = Space(
    name="digits",
    embed_dim=(48, 64, 80, 96, 112, 128, 160, 192),
    depth=(1, 2, 3, 4, 5, 6),
    num_heads=(4, 8),
    mlp_ratio=(2, 3, 4),
)


def storage_of(folder: StrPath) -> str:
    """The journal file in the quickstart's folder."""
    return str(Path(folder) / DEFAULT)


def open_quickstart(folder: StrPath) -> Search:
    """Create or open the study in `folder`."""
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is not a folder; choose another with -o")
    strangers = folder.is_dir() and any(folder.iterdir()) and not Path(storage_of(folder)).exists()
    if strangers:
        raise ValueError(f"{folder} is not empty and holds no quickstart; choose another folder with -o")
    make_folder(folder)
    return create_study(NAME, storage_of(folder), Plan(space=SPACE, task=Task.preset("digits")), skip_if_exists=True)


def draw_quickstart(search: Search, folder: StrPath) -> Path:
    """The Pareto plot of the search."""
    path = Path(folder) / "front.html"
    write_figure(draw_front(front_view(NAME, search.candidates())), path)
    return path


def take_away(search: Search, candidate: Candidate, weights: StrPath, folder: StrPath) -> Path:
    """The exported bundle, written once; an existing one must still load."""
    bundle = Path(folder) / f"exported-{candidate.number}"
    if bundle.exists():
        load(bundle)
        return bundle
    return export(search, candidate, bundle, Contents(weights=weights))
