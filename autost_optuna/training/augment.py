"""Augmentation of whole batches on their device, by kornia, as the recipe says; each batch has its own seed."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from autost_optuna.network.task import Task
from autost_optuna.training.recipe import Recipe

# kornia draws one operation per call, published recipes one per image: a batch is split into this many calls.
GROUPS = 8
KORNIA_LEVELS = 30 / 10  # kornia's magnitudes go from 0 to 30, those of recipes from 0 to 10
COLOURED = "color"  # the only operation that needs three channels


class Augment:
    """What a recipe does to the images of `task` in training; without augmentation it leaves them unchanged."""

    def __init__(self, recipe: Recipe, task: Task) -> None:
        if recipe.randaugment and task.events:
            raise ValueError(
                f"randaugment {recipe.randaugment} changes brightness and colour, and task {task.name} reads counts of "
                "events; set it to 0 in the recipe"
            )
        self._alpha = recipe.mixup
        self._classes = task.num_classes
        self._flip, self._operations, self._erase = _flip(recipe), _operations(recipe), _erase(recipe)

    def pixels(self, x: Tensor) -> Tensor:
        """Images [B, c, H, W] from 0 to 1, or counts [B, T, c, H, W]; shape and range stay the same."""
        if self._flip is not None:
            x = _as_images(self._flip, x)
        if self._operations is not None:
            operate = self._operations(x.shape[1])
            x = torch.cat([operate(part) for part in x.split(-(-len(x) // GROUPS))]).clamp_(0, 1)
        return x

    def inputs(self, x: Tensor, labels: Tensor, *, mix: bool) -> tuple[Tensor, Tensor]:
        """Normalised images [B, ...] and labels [B]. If images are mixed, targets are shares of the classes [B, classes]."""
        if self._erase is not None:
            x = _as_images(self._erase, x)
        if not mix:
            return x, labels
        # mixup (Zhang et al., ICLR 2018, arXiv 1710.09412), one share per batch, mixed with the batch reversed.
        share = float(torch.distributions.Beta(self._alpha, self._alpha).sample())
        targets = F.one_hot(labels, self._classes).float()
        return x.lerp(x.flip(0), 1 - share), targets.lerp(targets.flip(0), 1 - share)


def seeded(seed: int, call: Callable[[], tuple[Tensor, Tensor]], device: torch.device) -> tuple[Tensor, Tensor]:
    """The result of `call` with torch's random numbers from `seed`; other random numbers are not affected."""
    devices = [device.index or 0] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        return call()


def _as_images(change: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Apply `change` to images, and equally to all frames of a recording."""
    return change(x) if x.dim() == 4 else change(x.flatten(1, 2)).view_as(x)


def _flip(recipe: Recipe) -> Callable[[Tensor], Tensor] | None:
    if not recipe.flip:
        return None
    from kornia.augmentation import RandomHorizontalFlip

    return RandomHorizontalFlip(p=0.5)  # type: ignore[no-any-return]


def _erase(recipe: Recipe) -> Callable[[Tensor], Tensor] | None:
    if not recipe.erasing:
        return None
    from kornia.augmentation import RandomErasing

    return RandomErasing(p=recipe.erasing)  # type: ignore[no-any-return]


def _operations(recipe: Recipe) -> Callable[[int], Callable[[Tensor], Tensor]] | None:
    """RandAugment for images with this number of channels."""
    if not recipe.randaugment:
        return None
    from kornia.augmentation.auto import RandAugment
    from kornia.augmentation.auto.rand_augment.rand_augment import default_policy

    magnitude = round(recipe.randaugment_magnitude * KORNIA_LEVELS)
    plain = [policy for policy in default_policy if policy[0][0] != COLOURED]
    coloured, grey = (RandAugment(recipe.randaugment, magnitude, policy) for policy in (default_policy, plain))
    return lambda channels: coloured if channels == 3 else grey
