"""Train one member of a search: claim it, train it, and store the result in the study."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace

from autost_optuna.data import Dataset
from autost_optuna.search.presence import Presence
from autost_optuna.search.settings import installed_versions
from autost_optuna.training.claims import Claim, Records
from autost_optuna.training.device import make_fabric
from autost_optuna.training.orders import Means, Message, Order, Tell, key_of, process_rank, world
from autost_optuna.training.record import CURVE, Record, Taken, write_curve
from autost_optuna.training.resume import Assignment, Result, Stopped, log_of
from autost_optuna.training.trainer import TrainCallbacks, train
from autost_optuna.units import one_line

CURVE_FILE = "curve.csv"


@dataclass(frozen=True, slots=True)
class Workshop:
    """Where orders are carried out: the study of trained networks, the data, the means, who hears of it and may stop it, and
    the announcement of this process, which torchrun's other processes lack."""

    trainings: Records
    dataset: Dataset
    means: Means
    tell: Tell
    stopped: Callable[[], bool]
    presence: Presence | None = None

    def carry_out(self, order: Order, index: int) -> Message:
        """Train one network, unless another process has or does. Returns the outcome."""
        if order.until is not None:
            return self._reach(order, order.until, index)
        held = self._claim(order)
        if isinstance(held, Message):
            return replace(held, index=index)

        def beat(message: Message) -> None:
            if self.presence is not None:
                self.presence.beat()
            self.tell(message)

        try:
            trained = replace(self, tell=beat)._train(order, index)
            training = None if held is None else store(held, order, self.dataset, trained)
            return Message(kind="trained", index=index, training=training)
        except Stopped:
            end = Message(kind="stopped", index=index, text="stopped; its state is kept")
        except RuntimeError as error:
            end = Message(kind="failed", index=index, text=one_line(str(error)))
            if world() > 1:  # the other processes wait for this one, so all must end
                raise
        except BaseException as error:
            if held is not None:
                with contextlib.suppress(Exception):  # the first error is the one to report
                    held.fail(one_line(f"{type(error).__name__}: {error}"))
            raise
        if held is not None:
            held.fail(end.text)
        return end

    def _reach(self, order: Order, until: int, index: int) -> Message:
        """Train a network to the end of epoch `until` and save its state; the last epoch of all completes it as usual."""
        task = self.trainings.search.settings.task
        identity = Assignment(order.candidate.architecture, task, self.dataset, order.recipe).identity
        done = len(log_of(order.folder, identity))

        def watch(message: Message) -> None:
            nonlocal done
            done = done if message.line is None else message.line.epoch
            self.tell(message)

        trained = None
        if done < until or until == order.recipe.epochs:
            try:
                reaching = replace(self, tell=watch, stopped=lambda: done >= until or self.stopped())
                trained = reaching._train(order, index)
            except Stopped:
                if done < until:
                    return Message(kind="stopped", index=index, text="stopped; its state is kept")
            except RuntimeError as error:
                return Message(kind="failed", index=index, text=one_line(str(error)), itself=True)
        accuracies = tuple(line.validation_accuracy for line in log_of(order.folder, identity))
        text = f"validation {accuracies[until - 1]:.2%} after {until} of {order.recipe.epochs} epochs"
        return Message(kind="reached", index=index, accuracies=accuracies, trained=trained, text=text)

    def _train(self, order: Order, index: int) -> Result:
        """Train one network to its end, and report its batches, epochs and judging."""
        settings = self.trainings.search.settings

        def on_batch(epoch: int, batch: int, batches: int) -> None:
            done, total = epoch * batches + batch, order.recipe.epochs * batches
            self.tell(Message(kind="batch", index=index, done=done, total=total))

        def on_judged(phase: str, done: int, total: int) -> None:
            self.tell(Message(kind="judged", index=index, done=done, total=total, text=phase))

        return train(
            Assignment(order.candidate.architecture, settings.task, self.dataset, order.recipe),
            order.folder,
            convention=settings.convention,
            options=self.means.options,
            callbacks=TrainCallbacks(
                on_batch=on_batch,
                on_judged=on_judged,
                on_epoch=lambda line: self.tell(Message(kind="epoch", index=index, line=line)),
                stopped=self.stopped,
            ),
        )

    def _claim(self, order: Order) -> Claim | Message | None:
        """The claim to train, or why there is nothing to do; None in torchrun's other processes, which only help."""
        found: Claim | Record | Taken | None = None
        if self.presence is not None:
            found = claim(self.trainings, order, self.dataset, self.presence)
        ours = isinstance(found, Claim)
        if world() > 1:
            ours = make_fabric(order.recipe, self.means.options.accelerator).broadcast(ours)
        if isinstance(found, Record):
            return Message(kind="trained", training=found, before=True)
        if isinstance(found, Taken):
            return Message(kind="taken", text=f"process {found.process} on {found.host} is training it")
        return found if ours else Message(kind="taken")


@contextlib.contextmanager
def present(trainings: Records) -> Iterator[Presence | None]:
    """Announce this process within the context; with torchrun, only the first process does."""
    if process_rank():
        yield None
    else:
        with Presence(trainings.study, retires=False) as presence:
            yield presence


def claim(trainings: Records, order: Order, dataset: Dataset, presence: Presence) -> Claim | Record | Taken:
    """Claim the network of an order, while `presence` is in context."""
    key = key_of(order, dataset)
    return trainings.claim(
        order.candidate, key, recipe_name=order.recipe.label, presence=presence, network=order.network
    )


def store(claim: Claim, order: Order, dataset: Dataset, trained: Result) -> Record:
    """Store the result of a training in the study, with its learning curve."""
    candidate, recipe, measured = order.candidate, order.recipe, trained.measured
    training = Record(
        number=claim.number,
        search_trial=candidate.number,
        network=order.network if candidate.number is None else None,
        architecture=candidate.architecture,
        seed=recipe.seed,
        recipe=recipe.to_dict(),
        recipe_hash=recipe.hash,
        recipe_name=recipe.label,
        data=dataset.name,
        data_fingerprint=dataset.fingerprint(),
        validation_accuracy=trained.validation_accuracy,
        test_accuracy=trained.test_accuracy,
        energy_mj=measured.energy_mj,
        energy_std_mj=measured.std_mj,
        images=measured.images,
        convention=measured.convention,
        mean_rate=measured.mean_rate,
        rates=measured.rates,
        initial_rates=measured.initial_rates,
        predicted_mj=candidate.energy_mj,
        params=candidate.params,
        flops=candidate.flops,
        epochs=len(trained.log),
        images_per_s=trained.images_per_s,
        duration_s=trained.duration_s,
        path=str(order.folder.resolve()),
        machine=trained.machine,
        versions=installed_versions(),
        test_images=trained.test_images,
    )
    curve = order.folder / CURVE_FILE
    write_curve(curve, [{name: asdict(line)[name] for name in CURVE} for line in trained.log])
    claim.complete(training, [curve], [line.validation_accuracy for line in trained.log])
    return training
