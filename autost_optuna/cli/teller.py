"""The output for people while trainings run."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autost_optuna import units
from autost_optuna.cli import printing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from autost_optuna.training.orders import Message, Order

SIGN_OF_LIFE_S = 10.0


class Teller:
    """Reports on orders: one bar each while it trains and is judged, and a line when it ends.

    Without bars, it prints a line for each epoch and, in between, one every SIGN_OF_LIFE_S.
    """

    def __init__(self, todo: "Sequence[Order]", update: Any) -> None:
        self._todo, self._update = todo, update
        self._notes: dict[int, str] = {}
        self._said_s = time.monotonic()

    def frames(self, split: str, done: int, total: int) -> None:
        """Report on recordings that are cut into frames."""
        self._update(f"{split} recordings", done, total, "")
        self._pulse(f"{split} recordings: {done:,} of {total:,} cut into frames")

    def _note(self, text: str) -> None:
        self._said_s = time.monotonic()
        printing.note(text)

    def _pulse(self, text: str) -> None:
        """Print a line if there are no bars and nothing was printed for a while."""
        if not printing.is_terminal() and time.monotonic() - self._said_s >= SIGN_OF_LIFE_S:
            self._note(text)

    def __call__(self, message: "Message") -> None:
        """Show a message."""
        if message.kind in ("rung", "forecast"):
            self._note(message.text)
            return
        order = self._todo[message.index]
        name = order.title + (f" seed {order.recipe.seed}" if self._seeds(order) else "")
        if message.kind == "batch":
            each = message.total // order.recipe.epochs
            note = f"epoch {(message.done - 1) // each + 1}/{order.recipe.epochs} {self._notes.get(message.index, '')}"
            self._update(name, message.done, message.total, note, order.recipe.batch_size)
            epoch, done = divmod(message.done - 1, each)
            self._pulse(f"{name}, epoch {epoch + 1}/{order.recipe.epochs}: {done + 1:,} of {each:,} batches")
        elif message.kind == "judged":
            self._update(f"{name} {message.text}", message.done, message.total, "", passing=True)
            self._pulse(f"{name}, {message.text}: {message.done:,} of {message.total:,} images")
        elif message.line is not None:
            line = message.line
            self._notes[message.index] = f"validation {line.validation_accuracy:.1%}, rate {line.mean_rate:.3f}"
            if not printing.is_terminal():
                self._note(
                    f"{name}, epoch {line.epoch}/{order.recipe.epochs}: loss {line.loss:.3f}, validation "
                    f"{line.validation_accuracy:.2%}, spike rate {line.mean_rate:.3f}, {line.images_per_s:.0f} images/s"
                )
        elif message.kind == "trained" and message.before:
            self._note(f"{name}: trained before, {self._path(message)}")
        elif message.kind == "trained" and message.training is not None:
            self._note(f"{name}: trained in {units.duration(message.training.duration_s)}, {message.training.path}")
        elif message.text:
            self._note(f"{'error: ' if message.kind == 'failed' else ''}{name}: {message.text}")

    def _path(self, message: "Message") -> str:
        """The path of a training's weights, or of where they were."""
        path = message.training.path if message.training is not None else ""
        there = (Path(path) / "model.safetensors").exists()
        return path if there else f"but its weights are not at {path} any more; another --seed trains it again"

    def _seeds(self, order: "Order") -> bool:
        """Whether the trial of an order has several seeds."""
        return sum(other.candidate.number == order.candidate.number for other in self._todo) > 1
