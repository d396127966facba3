"""The network as one file of plain PyTorch, to run it without this package."""

from importlib.resources import files
from string import Template

from autost_optuna.data import Normalisation
from autost_optuna.network.architecture import Architecture
from autost_optuna.network.task import Task
from autost_optuna.training.checkpoint import WEIGHTS

NAME = "model.py"


def write_model(architecture: Architecture, task: Task, normalisation: Normalisation) -> str:
    """The text of model.py, which reads the weights of that architecture from the same folder."""
    template = Template((files(__name__) / f"{NAME}.in").read_text(encoding="utf-8"))
    return template.substitute(
        title=architecture.to_text(),
        shape=f"[B, {', '.join(map(str, task.input_shape))}]",
        weights=WEIGHTS,
        embed_dim=architecture.embed_dim,
        num_heads=list(architecture.num_heads),
        hidden_dim=list(architecture.hidden_dims),
        time_steps=task.time_steps,
        channels=task.channels,
        input_shape=task.input_shape,
        num_classes=task.num_classes,
        pooling=[flag == "1" for flag in task.pooling],
        events=bool(task.events),
        scale=normalisation.scale,
        mean=list(normalisation.mean),
        std=list(normalisation.std),
    )
