"""Task: what the search does not choose (image size, channels, classes, time steps, pooling) and the bounds of a network."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from autost_optuna.files import check_keys, read_toml
from autost_optuna.network.architecture import Architecture
from autost_optuna.network.place import pooled_sides
from autost_optuna.network.values import as_count

NEEDED = ("image_size", "channels", "num_classes")
MOST = {"image_size": 4096, "channels": 1024, "num_classes": 1_000_000, "time_steps": 1024}
LONGEST_NAME = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """A classification task for a spiking transformer of T time steps on square images.

    If `events`, it reads recordings of T event frames instead of one image repeated at T steps. Their channels are counts of
    falling and of rising brightness; a third has the sum. If the camera has more pixels than the task, counts are summed over
    cells of 2x2, 3x3 or more pixels.

    `pooling` has one flag for each of the four stem convolutions: "0011" halves the resolution after the last two.
    The `max_` fields bound the networks that the task accepts, so that a typing error does not fill the memory.
    """

    name: str
    image_size: int
    channels: int
    num_classes: int
    time_steps: int = 4
    pooling: str = "0011"
    events: bool = False
    max_embed_dim: int = 2048
    max_depth: int = 64
    max_mlp_ratio: int = 16

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip() or not self.name.isprintable():
            raise ValueError(f"name {self.name!r} is not a name for a task; use a word such as flowers")
        if len(self.name) > LONGEST_NAME:
            raise ValueError(f"name {self.name!r} has over {LONGEST_NAME} characters; choose a shorter one")
        for name, most in MOST.items():
            if as_count(name, getattr(self, name)) > most:
                raise ValueError(f"{name} {getattr(self, name)} is over the bound {most}; choose a smaller one")
        if not isinstance(self.pooling, str) or len(self.pooling) != 4 or set(self.pooling) - {"0", "1"}:
            raise ValueError(f'pooling {self.pooling!r} is not four flags of 0 and 1, such as "0011"')
        if not isinstance(self.events, bool):
            raise ValueError(f"events {self.events!r} is not true or false")
        for name in ("max_embed_dim", "max_depth", "max_mlp_ratio"):
            as_count(name, getattr(self, name))

    @classmethod
    def preset(cls, name: str) -> "Task":
        """The task called `name`, such as cifar10, digits, imagenet, nmnist or cifar10dvs; `PRESETS` has all."""
        if name not in PRESETS:
            raise ValueError(f"no task {name!r}; choose one of {', '.join(PRESETS)}, or give a FILE.toml")
        return PRESETS[name]

    @classmethod
    def load(cls, source: str) -> "Task":
        """A preset by its name, or the user's own task from FILE.toml, which may not take the name of a preset."""
        return _read(Path(source)) if source.endswith(".toml") else cls.preset(source)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form, with the keys of FILE.toml."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], *, name: str = "task") -> "Task":
        """Read the form of `to_dict` or of FILE.toml; ValueError names a missing or unknown key."""
        known = check_keys(f"task {name}", data, [field.name for field in fields(cls)], NEEDED)
        return cls(**{"name": name, **known})

    @property
    def sizes(self) -> tuple[int, ...]:
        """Side of the feature map at the input of each of the four pooled stem convolutions, then of the token grid."""
        return pooled_sides(self.image_size, self.pooling)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one image as the network reads it: (c, H, W), or (T, c, H, W) for an events task."""
        image = (self.channels, self.image_size, self.image_size)
        return (self.time_steps, *image) if self.events else image

    @property
    def num_tokens(self) -> int:
        """N, the tokens that every block sees."""
        return self.sizes[-1] ** 2

    def check_images(self, shape: Sequence[int]) -> None:
        """ValueError if images [B, ...] of `shape` are not what the network reads."""
        if tuple(shape[1:]) != self.input_shape or shape[0] < 1:
            expected = ", ".join(str(size) for size in self.input_shape)
            raise ValueError(f"images of shape {tuple(shape)} do not fit task {self.name}; give [B, {expected}]")

    def check_recordings(self, shape: Sequence[int]) -> None:
        """ValueError if recordings [B, T, 2, side, side] of `shape` are not what `data.fit` brings to this task's size."""
        recorded = tuple(shape[1:3]) == (self.time_steps, 2) and len(shape) == 5
        whole = recorded and all(side and side % self.image_size == 0 for side in shape[3:])
        if not (self.events and self.channels in (2, 3) and whole and shape[0]):
            reads = ", ".join(map(str, self.input_shape))
            raise ValueError(
                f"recordings of shape {tuple(shape)} do not fit task {self.name}, which reads [{reads}]; choose a task of 2 "
                "channels, or 3 with their sum, whose size divides the camera's"
            )

    def check(self, architecture: Architecture) -> None:
        """ValueError if `architecture` exceeds this task's bounds."""
        checks = (
            ("embed_dim", architecture.embed_dim, self.max_embed_dim),
            ("depth", architecture.depth, self.max_depth),
            ("mlp_ratio", max(architecture.mlp_ratio), self.max_mlp_ratio),
        )
        steps = architecture.form.time_steps
        if self.events and steps not in (None, self.time_steps):
            raise ValueError(
                f"time_steps {steps} cannot be chosen for recordings of {self.time_steps} frames; leave it out, or make a task "
                "with other time steps"
            )
        for name, value, bound in checks:
            if value > bound:
                raise ValueError(f"{name} {value} is over the bound {bound} of task {self.name}; choose a smaller one")


PRESETS = {
    task.name: task
    for task in (
        Task(name="cifar10", image_size=32, channels=3, num_classes=10),
        Task(name="cifar100", image_size=32, channels=3, num_classes=100),
        # scikit-learn's digits in their own size, 8x8; pooled once, which leaves 16 tokens for attention.
        Task(name="digits", image_size=8, channels=1, num_classes=10, pooling="0001"),
        Task(name="imagenet", image_size=224, channels=3, num_classes=1000, pooling="1111"),
        # N-MNIST: one channel for falling brightness and one for rising brightness.
        Task(name="nmnist", image_size=34, channels=2, num_classes=10, time_steps=10, events=True),
        # Both recorded by a DVS128 camera, with as many frames as published spiking transformers use.
        Task(
            name="cifar10dvs",
            image_size=128,
            channels=2,
            num_classes=10,
            time_steps=10,
            pooling="1111",
            events=True,
        ),
        Task(
            name="dvs128gesture",
            image_size=128,
            channels=2,
            num_classes=11,
            time_steps=16,
            pooling="1111",
            events=True,
        ),
        # The same at half the resolution, as the authors of SDT and of SpikingResformer read them.
        Task(name="cifar10dvs-64", image_size=64, channels=2, num_classes=10, time_steps=10, events=True),
        Task(name="dvs128gesture-64", image_size=64, channels=3, num_classes=11, time_steps=16, events=True),
    )
}


def _read(path: Path) -> Task:
    data = read_toml(path, "examples/my_task.toml")
    try:
        found = Task.from_dict(data, name=path.stem)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    if PRESETS.get(found.name, found) != found:
        raise ValueError(f"{path} names itself {found.name} and differs from the task of that name; rename it")
    return found
