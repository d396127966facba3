"""What a training runs on: the device and its precision, the kind of machine, and its memory."""

import contextlib
import logging
import os
import platform
import re
from collections.abc import Iterator
from pathlib import Path

import torch
from lightning_fabric import Fabric

from autost_optuna.training.recipe import Recipe
from autost_optuna.training.resume import RESUME


def make_fabric(recipe: Recipe, accelerator: str = "auto") -> Fabric:
    """The Fabric with device and precision; under torchrun, for one process of many."""
    world, local = (int(os.environ.get(name, 1)) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    logging.getLogger("lightning_fabric.utilities.rank_zero").setLevel(logging.WARNING)  # it repeats the precision
    fabric = Fabric(
        accelerator=accelerator,
        devices=local,
        num_nodes=world // local,
        strategy="ddp" if world > 1 else "auto",
        precision=recipe.precision,  # type: ignore[arg-type]
    )
    fabric.launch()
    return fabric


def machine(fabric: Fabric) -> str:
    """The machine of a training, in words."""
    if fabric.device.type == "cuda":
        name = torch.cuda.get_device_name(fabric.device)
    else:
        name = f"CPU {platform.machine()}, {torch.get_num_threads()} threads"
    return name if fabric.world_size == 1 else f"{fabric.world_size} x {name}"


@contextlib.contextmanager
def naming_short_memory(recipe: Recipe, folder: Path) -> Iterator[None]:
    """Within the context, turn a lack of memory into RuntimeError with the batch size to try."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        short = isinstance(error, torch.OutOfMemoryError | MemoryError)
        if not short and not re.search("can't allocate memory|ALLOC_FAILED", str(error)):
            raise
        size, parts = recipe.batch_size, recipe.accumulate
        if size == 1:
            raise RuntimeError("out of memory with one image per batch; train a smaller network") from None
        elsewhere = ", in another folder (-o)" if (folder / RESUME).exists() else ""
        raise RuntimeError(
            f"out of memory with {size} images per batch; try --batch-size {size // 2} --accumulate {2 * parts}{elsewhere}"
        ) from None
