"""One training: the network and all state that changes with it, batch by batch and epoch by epoch."""

import copy
import hashlib
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import Tensor

from autost_optuna.network.neurons.module import NeuronModule
from autost_optuna.network.transformer import SpikingTransformer
from autost_optuna.proxies.convention import Convention
from autost_optuna.training import checkpoint
from autost_optuna.training.augment import Augment, seeded
from autost_optuna.training.batches import Batches, split_training
from autost_optuna.training.checkpoint import WEIGHTS
from autost_optuna.training.device import machine, naming_short_memory
from autost_optuna.training.evaluation import (
    EVAL_BATCH,
    Judged,
    Judging,
    accuracy_of,
    judge,
    mean_rate_of,
    measured_of,
    recalibrate,
)
from autost_optuna.training.loss import loss_of, optimizer_of
from autost_optuna.training.recipe import TET
from autost_optuna.training.resume import RECIPE, RESUME, Assignment, Epoch, Stopped, resume

RECALIBRATION_IMAGES = 512
EMA_WARMUP = 10  # the average follows the first steps closely: its decay is at most (1 + step) / (10 + step)


class Run:
    """One training: the network and all state that changes with it."""

    def __init__(
        self,
        assignment: Assignment,
        folder: Path,
        fabric: Fabric,
        judging: Judging,
        on_judged: Callable[[str, int, int], None],
    ) -> None:
        task, dataset, recipe = assignment.task, assignment.dataset, assignment.recipe
        self.identity, self.recipe, self.folder, self.fabric = assignment.identity, recipe, folder, fabric
        self._augment = Augment(recipe, task)
        self._glance = min(EVAL_BATCH, 2 * recipe.batch_size)  # without gradients, an image takes less memory
        trained_on, _ = split_training(dataset, recipe.validation_share, recipe.images)
        validation, test = judging.chosen(dataset, recipe)
        self._test_images = len(test) if len(test) < len(dataset.test.labels) else None
        self._on_judged = on_judged
        self._found: Judged | None = None  # of the last epoch, unless an earlier call trained it
        reads = (dataset.normalisation, task, fabric.device)
        self._train = Batches(dataset.train, trained_on, *reads)
        self._validation = Batches(dataset.train, validation, *reads)
        self._test = Batches(dataset.test, test, *reads)
        self.network = SpikingTransformer(assignment.architecture, task, seed=recipe.seed)
        self._plain = plain = optimizer_of(self.network, recipe)
        self._order_channels(
            torch.channels_last
        )  # as in training, because DDP lays out its gradients like the current weights
        self.model, self._optimizer = fabric.setup(self.network, plain)
        self._order_channels(torch.contiguous_format)
        self._average = copy.deepcopy(self.network).requires_grad_(False) if recipe.ema_decay else None
        # After the weights are on the device, because the optimizer's state follows them.
        state = resume(folder / RESUME, self.identity, self.network, plain, self._average)
        self.log = [Epoch(**entry) for entry in state["log"]]
        self._batch, self._step = int(state["batch"]), int(state["step"])
        self._losses: list[float] = state["losses"]
        self._before_s = float(state["duration_s"])
        self._start = time.monotonic()
        self._scaler = getattr(fabric.strategy.precision, "scaler", None)
        if self._scaler is not None and state["scaler"]:
            self._scaler.load_state_dict(state["scaler"])

    def fuse(self) -> None:
        """Let torch.compile fuse the operations of the neurons and, on a GPU, of each part, in training but not in judging.

        On the CPU, compiling whole parts slows down convolutions and products, which take most of the time. ValueError
        if there is no compiler.
        """
        if self.fabric.device.type != "cpu":
            for part in (self.network.stem, *self.network.blocks):
                part.compile(dynamic=False)
            return
        compiler = os.environ.get("CXX", "g++")
        if shutil.which(compiler) is None:
            raise ValueError(f"--compile needs the C++ compiler {compiler}; install it, or leave --compile out")
        for module in self.network.modules():
            if isinstance(module, NeuronModule):
                module.fused = True

    @property
    def judged(self) -> SpikingTransformer:
        """The network whose accuracy counts: the moving average if the recipe has one."""
        return self.network if self._average is None else self._average

    def ended_early(self) -> bool:
        """Whether the recipe's patience has run out."""
        accuracies = [line.validation_accuracy for line in self.log]
        best = accuracies.index(max(accuracies)) if accuracies else 0
        return bool(self.recipe.patience) and len(accuracies) - 1 - best >= self.recipe.patience

    def train_epoch(
        self,
        epoch: int,
        checkpoint_s: float,
        on_batch: Callable[[int, int, int], None],
        stopped: Callable[[], bool],
    ) -> None:
        """Train the batches of an epoch, from where it was interrupted."""
        recipe, count = self.recipe, math.ceil(len(self._train) / self.recipe.batch_size)
        steps = recipe.epochs * math.ceil(count / recipe.accumulate)
        fresh: list[Tensor] = []
        began, saved, first, images = time.monotonic(), time.monotonic(), self._batch, 0
        self.model.train()
        self._order_channels(torch.channels_last)  # convolutions and pooling are faster this way
        mine = self._share(self._order(epoch).split(recipe.batch_size)[first:])
        for batch, (pixels, labels) in enumerate(self._train.raw(mine), first):
            first_of_step = batch - batch % recipe.accumulate
            parts = min(recipe.accumulate, count - first_of_step)
            at_rest = batch == first_of_step + parts - 1
            with naming_short_memory(recipe, self.folder):
                with self.fabric.no_backward_sync(self.model, enabled=not at_rest):
                    fresh.append(self._forward_backward(epoch, batch, pixels, labels, parts))
                if at_rest:
                    self._take_step(steps)
            images += len(labels) * self.fabric.world_size
            self._batch = batch + 1
            if self.fabric.device.type == "cpu" or len(fresh) >= 16:  # reading a loss waits for the GPU
                self._look(epoch, fresh)
            on_batch(epoch, batch + 1, count)
            if at_rest and batch + 1 < count and (time.monotonic() - saved >= checkpoint_s or stopped()):
                self._look(epoch, fresh)
                self.save()
                saved = time.monotonic()
                if stopped():
                    raise Stopped
        self._look(epoch, fresh)
        self._order_channels(torch.contiguous_format)  # as in a loaded network; other orders round differently
        self._images_per_s = images / (time.monotonic() - began)

    def judge_epoch(self, epoch: int) -> Epoch:
        """Judge a trained epoch, save the state, and return its line of the log."""
        line = None
        if self.fabric.is_global_zero:
            with naming_short_memory(self.recipe, self.folder), torch.compiler.set_stance("force_eager"):
                self._recalibrate()
                self._found = found = self._judge("validation")
                line = Epoch(
                    epoch=epoch + 1,
                    loss=math.fsum(self._losses) / len(self._losses),
                    validation_accuracy=found.accuracy,
                    mean_rate=mean_rate_of(self.judged, found.rates),
                    lr=self._plain.param_groups[0]["lr"],
                    images_per_s=self._images_per_s,
                )
        line = self.fabric.broadcast(line)
        assert line is not None
        self.log.append(line)
        self._batch, self._losses = 0, []
        self.save()
        return line

    def _judge(self, phase: str) -> Judged:
        """Accuracy and rates on the validation split, in one pass."""
        heard = partial(self._on_judged, phase)
        count = len(self._validation)
        return judge(self.judged, self._validation, rate_images=count, batch_size=self._glance, on_done=heard)

    def finish(self, convention: Convention) -> None:
        """Judge on the test set, measure the energy, and replace the state by the result."""
        if self.fabric.is_global_zero:
            with naming_short_memory(self.recipe, self.folder), torch.compiler.set_stance("force_eager"):
                found = self._found or self._judge("energy")
                measured = measured_of(self.judged, self._validation, found.rates, convention, seed=self.recipe.seed)
                test_accuracy = accuracy_of(self.judged, self._test, self._glance, partial(self._on_judged, "test"))
            result = {
                "validation_accuracy": self.log[-1].validation_accuracy,
                "test_accuracy": test_accuracy,
                "test_images": self._test_images,
                "measured": asdict(measured),
                "log": [asdict(line) for line in self.log],
                "duration_s": self._duration_s(),
                "machine": machine(self.fabric),
            }
            (self.folder / RECIPE).write_text(self.recipe.to_toml(), encoding="utf-8")
            checkpoint.save(self.folder / WEIGHTS, self.judged.state_dict(), {**self.identity, "training": result})
            (self.folder / RESUME).unlink(missing_ok=True)
        self.fabric.barrier()

    def save(self) -> None:
        """Save the whole state; if that fails, the previous one stays."""
        if not self.fabric.is_global_zero:
            return
        tensors = dict(self.network.state_dict())
        if not all(bool(tensor.isfinite().all()) for tensor in tensors.values()):
            raise RuntimeError(f"the weights are NaN or infinite after {self._step} steps; {self._remedy()}")
        for index, values in self._plain.state_dict()["state"].items():
            tensors.update({f"optimizer.{index}.{name}": value for name, value in values.items()})
        if self._average is not None:
            tensors.update({f"ema.{name}": value for name, value in self._average.state_dict().items()})
        description = {
            **self.identity,
            "log": [asdict(line) for line in self.log],
            "batch": self._batch,
            "step": self._step,
            "losses": self._losses,
            "duration_s": self._duration_s(),
            "scaler": self._scaler.state_dict() if self._scaler is not None else {},
        }
        checkpoint.save(self.folder / RESUME, tensors, description)

    def _order(self, epoch: int) -> Tensor:
        """The training images of an epoch, shuffled only by the seed and the epoch."""
        generator = torch.Generator().manual_seed(self.recipe.seed * 100_003 + epoch)
        return self._train.chosen[torch.randperm(len(self._train), generator=generator)]

    def _share(self, batches: tuple[Tensor, ...]) -> Iterator[Tensor]:
        """This process's part of each batch; if a batch is too small for all processes, each takes all of it."""
        for indices in batches:
            part = indices[self.fabric.global_rank :: self.fabric.world_size]
            yield part if len(indices) >= self.fabric.world_size else indices

    def _forward_backward(self, epoch: int, batch: int, pixels: Tensor, labels: Tensor, parts: int) -> Tensor:
        """The loss [] of one batch; its gradient is accumulated as one of `parts`."""
        recipe, mix = self.recipe, self.recipe.mixes_at(epoch)

        def make() -> tuple[Tensor, Tensor]:
            return self._augment.inputs(self._train.fit(pixels, self._augment.pixels), labels, mix=mix)

        place = repr((recipe.seed, epoch, batch, self.fabric.global_rank)).encode()
        draws = int.from_bytes(hashlib.sha256(place).digest()[:8], "big") >> 1
        inputs, targets = seeded(draws, make, self.fabric.device)
        loss = loss_of(self.model(inputs, every_step=recipe.loss == TET), targets, recipe)
        self.fabric.backward(loss / parts)
        return loss.detach()

    def _order_channels(self, order: torch.memory_format) -> None:
        self.network.stem.to(memory_format=order)
        for parameter in self.network.stem.parameters():
            state = self._plain.state[parameter]
            # The fused optimizer reads weight and state in memory order, which is wrong if their orders differ.
            state.update({field: value.to(memory_format=order) for field, value in state.items() if value.dim() == 4})

    def _take_step(self, steps: int) -> None:
        recipe = self.recipe
        for group in self._plain.param_groups:
            group["lr"] = recipe.lr_at(self._step, steps)
        if recipe.clip_norm:
            self.fabric.clip_gradients(self.model, self._optimizer, max_norm=recipe.clip_norm, error_if_nonfinite=False)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self._step += 1
        if self._average is not None:
            decay = min(recipe.ema_decay, (1 + self._step) / (EMA_WARMUP + self._step))
            torch._foreach_lerp_(list(self._average.parameters()), list(self.network.parameters()), 1 - decay)

    def _look(self, epoch: int, fresh: list[Tensor]) -> None:
        """Record the losses. RuntimeError if one is NaN or infinite: the saved state is then from before it."""
        values = torch.stack(fresh).tolist() if fresh else []
        fresh.clear()
        for index, value in enumerate(values, self._batch - len(values)):
            if not math.isfinite(value):
                raise RuntimeError(f"the loss is {value} at epoch {epoch + 1}, step {index + 1}; {self._remedy()}")
        self._losses += values

    def _remedy(self) -> str:
        kept = self.folder / RESUME
        left = f"the last good weights are in {kept}; " if kept.exists() else ""
        return f"{left}lower --lr, now {self.recipe.lr:g}, or set clip_norm in a recipe, in another folder (-o)"

    def _recalibrate(self) -> None:
        """Set the running statistics to the plain mean over a few batches, because they lag behind during training."""
        images = self._train.chosen[:RECALIBRATION_IMAGES].split(max(2, self._glance // 2))
        recalibrate(self.judged, (self._train.fit(pixels) for pixels, _ in self._train.raw(images)))

    def _duration_s(self) -> float:
        return self._before_s + time.monotonic() - self._start
