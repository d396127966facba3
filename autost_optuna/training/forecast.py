"""Forecast: how long training and judging will take, from a few images timed on this machine."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from lightning_fabric import Fabric

from autost_optuna import units
from autost_optuna.network.packed import packed
from autost_optuna.network.transformer import SpikingTransformer
from autost_optuna.proxies.pages import keeping_all_pages
from autost_optuna.training.batches import Batches, split_training
from autost_optuna.training.device import make_fabric
from autost_optuna.training.evaluation import Judging, accuracy_of
from autost_optuna.training.loop import RECALIBRATION_IMAGES
from autost_optuna.training.resume import Assignment

SAMPLES = (16, 128)  # images to time: more if they are fast, because a call has its own cost
ENOUGH_S = 0.2
SHORT_S = 5.0  # a training that takes no longer is not worth a closer look


@dataclass(frozen=True, kw_only=True, slots=True)
class Forecast:
    """Seconds per image in training and in judging, and the number of images of each phase.

    Validation, which also gives the energy, processes its images after each epoch, test only once.
    """

    train_s: float
    judge_s: float
    train_images: int
    validation_images: int
    test_images: int

    def in_words(self, sizes: Sequence[tuple[int, float]], *, workers: int = 1, processes: int = 1) -> str:
        """One line on trainings with these epochs and relative FLOPs, by `workers` that each have `processes`."""
        each = [(epochs * size, size) for epochs, size in sizes]
        epochs, ends = sum(e for e, _ in each), sum(s for _, s in each)
        glance = self.validation_images + min(self.train_images, RECALIBRATION_IMAGES)
        phases = {
            "training": self.train_s * self.train_images * epochs / processes,
            f"validation and energy ({self.validation_images:,} images after each epoch)": self.judge_s
            * glance
            * epochs,
            f"test ({self.test_images:,})": self.judge_s * self.test_images * ends,
        }
        total = sum(phases.values()) / workers
        parts = ", ".join(f"{name} {units.duration(seconds / workers)}" for name, seconds in phases.items())
        many = "" if len(sizes) == 1 else f" for {len(sizes)} trainings"
        shorter = "--epochs, --images, --eval-images and --test-images shorten it"
        return f"about {units.duration(total)}{many} on this machine: {parts}; {shorter}"


def forecast(assignment: Assignment, judging: Judging, accelerator: str = "auto") -> Forecast:
    """Time a training step and a batch of judging, each the second of two, on a temporary network."""
    task, dataset, recipe = assignment.task, assignment.dataset, assignment.recipe
    trained_on, _ = split_training(dataset, recipe.validation_share, recipe.images)
    validation, test = judging.chosen(dataset, recipe)
    fabric = make_fabric(recipe, accelerator)
    network = SpikingTransformer(assignment.architecture, task, seed=recipe.seed).to(fabric.device)
    with keeping_all_pages():
        for sample in SAMPLES:
            few = trained_on[: min(sample, recipe.batch_size)]
            images = Batches(dataset.train, few, dataset.normalisation, task, fabric.device)
            train_s = _second(partial(_step, network, images, fabric), fabric.device)
            judge_s = _second(partial(accuracy_of, network, images, len(few)), fabric.device)
            # A judging packs the network once, however many images it has.
            judge_s -= min(_second(partial(packed, network), fabric.device), judge_s / 2)
            whole_s = recipe.epochs * (train_s * len(trained_on) + judge_s * len(validation)) / len(few)
            if train_s + judge_s > ENOUGH_S or whole_s < SHORT_S:
                break
    return Forecast(
        train_s=train_s / len(few),
        judge_s=judge_s / len(few),
        train_images=len(trained_on),
        validation_images=len(validation),
        test_images=len(test),
    )


def _step(network: SpikingTransformer, images: Batches, fabric: Fabric) -> None:
    network.train().zero_grad(set_to_none=True)
    inputs, labels = next(images.in_order(len(images)))
    with fabric.autocast():
        loss = F.cross_entropy(network(inputs), labels)
    loss.backward()


def _second(call: Callable[[], object], device: torch.device) -> float:
    """The seconds of the second of two calls: the first allocates memory and chooses algorithms."""
    call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    began = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began
