"""Recipe: how a network is trained. A frozen value, a TOML file on disk, and stored with its results."""

import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from autost_optuna.data.events import CUTS, Cut
from autost_optuna.files import check_keys, read_toml, toml_text
from autost_optuna.network.values import as_count
from autost_optuna.units import StrPath

PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")
MEAN, TET = LOSSES = ("mean", "tet")


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """How a network is trained: AdamW, a linear warm-up over `warmup_share` of all steps, then a cosine to `min_lr`.

    An optimizer step uses `accumulate` batches of `batch_size` images, over all processes together. `clip_norm` bounds the
    norm of all gradients; 0 means no bound. `loss` is the cross entropy of the "mean" of the logits over time, or "tet": that
    of every step (Deng et al., ICLR 2022, arXiv 2202.11946), with weight `tet_lambda` on its regulariser.

    Augmentation: `randaugment` operations per image with `randaugment_magnitude` 0 to 10 (Cubuk et al., arXiv 1909.13719),
    horizontal `flip` of every second image, `erasing` as the share of images with a rectangle erased, and `mixup` as the alpha
    of its Beta distribution, during the first `mixup_share` of the epochs; 0 turns each off.

    With `ema_decay` above 0, the result is a moving average of the weights. With `patience` above 0, training ends after so
    many epochs without a better accuracy on the validation split. That split is `validation_share` of the training set, the
    same for every network and seed; training uses `images` of the rest, 0 for all. Recordings are cut into `frames` of
    equal "count" of events or of equal "time". `precision` is 32-true, bf16-mixed or 16-mixed.
    """

    name: str = "short"
    epochs: int = 10
    batch_size: int = 64
    accumulate: int = 1
    lr: float = 2e-3
    min_lr: float = 1e-5
    warmup_share: float = 0.1
    weight_decay: float = 0.06
    clip_norm: float = 0.0
    label_smoothing: float = 0.1
    loss: str = MEAN
    tet_lambda: float = 0.05
    randaugment: int = 0
    randaugment_magnitude: float = 9.0
    flip: bool = False
    erasing: float = 0.0
    mixup: float = 0.0
    mixup_share: float = 0.667
    ema_decay: float = 0.0
    patience: int = 0
    validation_share: float = 0.1
    images: int = 0
    frames: Cut = "count"
    precision: str = "32-true"
    seed: int = 0

    def __post_init__(self) -> None:
        if (
            not isinstance(self.name, str)
            or not self.name.strip()
            or not self.name.isprintable()
            or len(self.name) > 64
        ):
            raise ValueError(f"name {str(self.name)[:80]!r} is not a name for a recipe; use a word such as mine")
        for name in ("epochs", "batch_size", "accumulate"):
            as_count(name, getattr(self, name))
        for name, low, high, example in _RANGES:
            value = getattr(self, name)
            if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
                raise ValueError(f"{name} {value!r} is out of range; use {low:.10g} to {high:.10g}, such as {example}")
        for name in ("randaugment", "patience", "images", "seed"):
            if not isinstance(getattr(self, name), int) or isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} {getattr(self, name)!r} is not a whole number; use one, such as 1")
        if self.min_lr > self.lr:
            raise ValueError(f"min_lr {self.min_lr:g} is above lr {self.lr:g}; lower it, such as to {self.lr / 100:g}")
        if not isinstance(self.flip, bool):
            raise ValueError(f"flip {self.flip!r} is neither true nor false")
        for name, known in (("loss", LOSSES), ("frames", CUTS), ("precision", PRECISIONS)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} {getattr(self, name)!r} is unknown; use {', '.join(known)}")

    @property
    def hash(self) -> str:
        """A fingerprint of everything that determines a training except its seed."""
        decisive = {name: value for name, value in self.to_dict().items() if name not in ("name", "seed")}
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def label(self) -> str:
        """The name, with the hash if the name alone does not identify the recipe."""
        preset = RECIPES.get(self.name)
        return self.name if preset and preset.hash == self.hash else f"{self.name}#{self.hash}"

    def to_dict(self) -> dict[str, Any]:
        """The dict of the TOML form."""
        return asdict(self)

    def to_toml(self) -> str:
        """The text of a file that `load` reads."""
        return toml_text(self.to_dict())

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Recipe":
        """Read the form of `to_dict`. ValueError for wrong or missing keys names the allowed ones."""
        known = check_keys("recipe", data, [field.name for field in fields(cls)], ("name",))
        for field in fields(cls):  # 0 and 0.0 must give the same recipe and the same hash
            value = known.get(field.name)
            if isinstance(field.default, float) and isinstance(value, int) and not isinstance(value, bool):
                known[field.name] = float(value)
        return cls(**known)

    @classmethod
    def load(cls, source: StrPath) -> "Recipe":
        """A preset by its name, or the user's own from FILE.toml; keys that a file lacks have their defaults."""
        source = os.fspath(source)
        if source.endswith(".toml"):
            return _read(Path(source))
        if source not in RECIPES:
            raise ValueError(f"no recipe {source!r}; choose one of {', '.join(RECIPES)}, or give a FILE.toml")
        return RECIPES[source]

    def lr_at(self, step: int, steps: int) -> float:
        """The learning rate of step `step` of `steps`."""
        warmup = max(1, round(self.warmup_share * steps))
        if step < warmup:
            return self.min_lr + (self.lr - self.min_lr) * (step + 1) / warmup
        turn = math.pi * (step - warmup) / max(1, steps - warmup)
        return self.min_lr + (self.lr - self.min_lr) * (1 + math.cos(turn)) / 2

    def mixes_at(self, epoch: int) -> bool:
        """Whether the images of epoch `epoch`, counted from 0, are mixed."""
        return self.mixup > 0 and epoch < round(self.mixup_share * self.epochs)


_RANGES = (
    ("lr", 1e-9, 1e9, "2e-3"),
    ("min_lr", 0.0, 1e9, "1e-5"),
    ("warmup_share", 0.0, 1.0, "0.1"),
    ("weight_decay", 0.0, 1e9, "0.06"),
    ("clip_norm", 0.0, 1e9, "1.0"),
    ("label_smoothing", 0.0, 1.0, "0.1"),
    ("tet_lambda", 0.0, 1.0, "0.05"),
    ("randaugment", 0, 15, "1"),
    ("randaugment_magnitude", 0.01, 9.99, "9"),
    ("erasing", 0.0, 1.0, "0.25"),
    ("mixup", 0.0, 100.0, "0.5"),
    ("mixup_share", 0.0, 1.0, "0.667"),
    ("ema_decay", 0.0, 0.999999, "0.999"),
    ("patience", 0, 1_000_000, "20"),
    ("validation_share", 0.001, 0.9, "0.1"),
    ("images", 0, 1_000_000_000, "8000"),
    ("seed", 0, 2**32 - 1, "0"),
)


def _read(path: Path) -> Recipe:
    data = read_toml(path, "examples/my_recipe.toml")
    try:
        return Recipe.from_dict(data)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


RECIPES: dict[str, Recipe] = {
    name: _read(Path(__file__).parent / "recipes" / f"{name}.toml") for name in ("short", "cifar")
}
DEFAULT = RECIPES["short"]
