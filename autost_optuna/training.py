"""Train members of a search: each once, whoever asks, one after the other here or by several processes."""

import contextlib
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Literal

import optuna
import torch

from autost_optuna.architecture import as_count
from autost_optuna.artifacts import folder_of
from autost_optuna.candidate import Candidate
from autost_optuna.checkpoint import WEIGHTS
from autost_optuna.data import Dataset, load
from autost_optuna.evaluation import Judging
from autost_optuna.forecast import forecast
from autost_optuna.presence import Presence
from autost_optuna.recipe import Recipe
from autost_optuna.settings import installed_versions
from autost_optuna.study import Search, open_search
from autost_optuna.trained import (
    CURVE,
    Claim,
    Key,
    Taken,
    Training,
    Trainings,
    dropped_of,
    open_trained,
    trainings_of,
    write_curve,
)
from autost_optuna.trainer import (
    RESUME,
    WHOLE,
    Epoch,
    Stopped,
    Trained,
    check,
    check_folder,
    identity_of,
    log_of,
    make_fabric,
    train,
)
from autost_optuna.units import StrPath, counted, one_line
from autost_optuna.workers import STOPS, death, environment, undisturbed

CURVE_FILE = "curve.csv"


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """A network to train: a member of the search, by a recipe with its seed, in a folder.

    One with `until` is trained to that epoch, for who holds its claim already.
    """

    candidate: Candidate
    recipe: Recipe
    folder: Path
    until: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Means:
    """What all orders share: the data set, where it lies or is put, the device (auto, cpu or cuda), logs for TensorBoard,
    whether torch.compile fuses operations, and on how many images networks are judged."""

    data: str
    data_root: StrPath | None = None
    download: bool = False
    accelerator: str = "auto"
    tensorboard: bool = False
    fuse: bool = False
    judging: Judging = WHOLE


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """What becomes of the order at `index`.

    "batch": `done` of `total` batches of all epochs; "judged": `done` of `total` images in the phase `text` of judging;
    "epoch": a line of its log; "forecast": how long all will take; "trained", perhaps `before`, and what came
    of it; "taken": another process is at it; "failed", and why, `itself` where it was the network and not its process;
    "stopped". "reached": its last epoch for now, with the accuracy after each, and what came of it if it was the very last;
    "rung": what a rung means for all. A worker is "ready" before it has an order.
    """

    kind: Literal[
        "ready", "forecast", "batch", "judged", "epoch", "trained", "taken", "failed", "stopped", "reached", "rung"
    ]
    index: int = -1
    done: int = 0
    total: int = 0
    line: Epoch | None = None
    training: Training | None = None
    before: bool = False
    text: str = ""
    itself: bool = False
    accuracies: tuple[float, ...] = ()
    trained: Trained | None = None


Tell = Callable[[Message], None]


def orders(search: Search, candidates: Iterable[Candidate], recipe: Recipe, seeds: int, output: StrPath) -> list[Order]:
    """Every candidate with every seed from the recipe's on; a folder for each: `output`/STUDY-TRIAL, others -seedN beside."""
    made = []
    last = recipe.seed + as_count("seeds", seeds) - 1
    if last >= 2**32:
        raise ValueError(f"seeds {seeds} from seed {recipe.seed} on pass 4294967295; lower --seed")
    for candidate in candidates:
        for seed in range(recipe.seed, last + 1):
            suffix = "" if seed == search.settings.seed else f"-seed{seed}"
            folder = Path(output) / f"{folder_name(search.study.study_name)}-{candidate.number}{suffix}"
            made.append(Order(candidate=candidate, recipe=replace(recipe, seed=seed), folder=folder))
    return made


def folder_name(name: str) -> str:
    """A study's name as part of a folder's name."""
    return "".join(c if c.isalnum() or c in "_.-" else "_" for c in name)


def train_members(
    search: Search,
    todo: Sequence[Order],
    means: Means,
    *,
    workers: int = 1,
    tell: Tell = lambda message: None,
    on_frames: Callable[[str, int, int], None] = lambda split, done, total: None,
    stopped: Callable[[], bool] = lambda: False,
) -> list[Training]:
    """Train the networks of all orders that nobody has trained or trains, and return those that are trained.

    An order whose loss is no number, or whose memory is short, fails alone; the others are still trained. With `workers`
    above 1 in as many processes, a GPU each where there are some. `on_frames` hears of recordings that are cut into frames.
    Stopped where `stopped()`; RuntimeError at the end where an order failed.
    """
    dataset, trainings, todo = prepare(search, todo, means, workers, on_frames)
    workers = min(workers, len(todo))
    if text := foretell(trainings, todo, dataset, means, workers):
        tell(Message(kind="forecast", text=text))
    ends = carry_out(trainings, todo, dataset, means, workers=workers, tell=tell, stopped=stopped)
    failures = sum(end.kind == "failed" for end in ends)
    if failures:
        raise RuntimeError(f"{failures} of {counted(len(todo), 'training')} failed; the reasons stand above")
    return [end.training for end in ends if end.training is not None]


def prepare(
    search: Search,
    todo: Sequence[Order],
    means: Means,
    workers: int,
    on_frames: Callable[[str, int, int], None] = lambda split, done, total: None,
) -> tuple[Dataset, Trainings, list[Order]]:
    """The data, the study of trained networks, and the orders, each in the folder where a halving left it.

    ValueError where one of them cannot be trained.
    """
    if workers < 1:
        raise ValueError(f"workers {workers} is not positive; use 1, or one a GPU")
    if workers > 1 and world() > 1:
        raise ValueError(f"workers {workers} and torchrun are two ways to use several processes; leave one out")
    task, frames = search.settings.task, todo[0].recipe.frames
    with _one_first(todo[0].recipe, means.accelerator):
        download = means.download and not rank()
        dataset = load(means.data, task, means.data_root, download=download, frames=frames, on_frames=on_frames)
    for recipe in {order.recipe for order in todo}:
        check(task, dataset, recipe, means.accelerator, means.judging)
    known = {training.key for training in trainings_of(search)}
    left = {dropped.key: Path(dropped.path) for dropped in dropped_of(search)}
    found = [_where_left(order, left.get(key_of(order, dataset))) for order in todo]
    for order in found:
        if key_of(order, dataset) not in known:
            check_folder(order.folder, identity_of(order.candidate.architecture, task, dataset, order.recipe))
    return dataset, open_trained(search, create=True, artifacts=_artifacts(search, todo)), found


def foretell(trainings: Trainings, todo: Sequence[Order], dataset: Dataset, means: Means, workers: int) -> str:
    """How long the orders will take that nobody has carried out, in one line; nothing if there are none."""
    task, known = trainings.search.settings.task, {training.key for training in trainings.all()}
    left = [order for order in todo if key_of(order, dataset) not in known]
    if not left or rank():
        return ""
    sample = left[0]
    foreseen = forecast(sample.candidate.architecture, task, dataset, sample.recipe, means.judging, means.accelerator)
    sizes = []
    for order in left:
        identity = identity_of(order.candidate.architecture, task, dataset, order.recipe)
        epochs = order.recipe.epochs - len(log_of(order.folder, identity))
        sizes.append((epochs, order.candidate.flops / sample.candidate.flops))
    return foreseen.in_words(sizes, workers=min(workers, len(left)), processes=world())


def carry_out(
    trainings: Trainings,
    todo: Sequence[Order],
    dataset: Dataset,
    means: Means,
    *,
    workers: int,
    tell: Tell,
    stopped: Callable[[], bool],
) -> list[Message]:
    """What becomes of each order, here one after the other or in `workers` processes. Stopped where `stopped()`."""
    if workers == 1:
        ends = []
        with _present(trainings) as presence:
            for index, order in enumerate(todo):
                ends.append(_carry_out(trainings, order, index, dataset, means, presence, tell, stopped))
                if ends[-1].kind == "stopped" or stopped():
                    break
    else:
        with _Crew(trainings.search, todo, means, workers) as crew:
            ends = crew.lead(tell, stopped)
    if len(ends) < len(todo) or any(end.kind == "stopped" for end in ends):
        raise Stopped
    return ends


def key_of(order: Order, dataset: Dataset) -> Key:
    """What tells the network of an order from the others of its search."""
    return Key(
        architecture=order.candidate.architecture.key,
        data=dataset.name,
        data_fingerprint=dataset.fingerprint(),
        recipe_hash=order.recipe.hash,
        seed=order.recipe.seed,
    )


def _carry_out(
    trainings: Trainings,
    order: Order,
    index: int,
    dataset: Dataset,
    means: Means,
    presence: Presence | None,
    tell: Tell,
    stopped: Callable[[], bool],
) -> Message:
    """Train one network, unless someone has or does; what became of it, told as well."""
    if order.until is not None:
        end = _reach(trainings.search, order, order.until, index, dataset, means, tell, stopped)
        tell(end)
        return end
    held = _claim(trainings, order, dataset, means, presence)
    if isinstance(held, Message):
        end = replace(held, index=index)
        tell(end)
        return end

    def beat(message: Message) -> None:
        if presence is not None:
            presence.beat()
        tell(message)

    try:
        trained = _train(trainings.search, order, index, dataset, means, beat, stopped)
        training = None if held is None else store(held, order, dataset, trained)
        end = Message(kind="trained", index=index, training=training)
    except Stopped:
        end = Message(kind="stopped", index=index, text="stopped; its state is kept")
    except RuntimeError as error:
        end = Message(kind="failed", index=index, text=one_line(str(error)))
        if world() > 1:  # the other processes wait for this one: all end
            raise
    except BaseException as error:
        if held is not None:
            with contextlib.suppress(Exception):  # what went wrong first is what is told
                held.fail(one_line(f"{type(error).__name__}: {error}"))
        raise
    if held is not None and end.kind != "trained":
        held.fail(end.text)
    tell(end)
    return end


def _reach(
    search: Search,
    order: Order,
    until: int,
    index: int,
    dataset: Dataset,
    means: Means,
    tell: Tell,
    stopped: Callable[[], bool],
) -> Message:
    """Train a network to the end of epoch `until`, and keep its state there; the very last epoch ends it as ever."""
    identity = identity_of(order.candidate.architecture, search.settings.task, dataset, order.recipe)
    done = len(log_of(order.folder, identity))

    def watch(message: Message) -> None:
        nonlocal done
        done = done if message.line is None else message.line.epoch
        tell(message)

    trained = None
    if done < until or until == order.recipe.epochs:
        try:
            trained = _train(search, order, index, dataset, means, watch, lambda: done >= until or stopped())
        except Stopped:
            if done < until:
                return Message(kind="stopped", index=index, text="stopped; its state is kept")
        except RuntimeError as error:
            return Message(kind="failed", index=index, text=one_line(str(error)), itself=True)
    accuracies = tuple(line.validation_accuracy for line in log_of(order.folder, identity))
    text = f"validation {accuracies[until - 1]:.2%} after {until} of {order.recipe.epochs} epochs"
    return Message(kind="reached", index=index, accuracies=accuracies, trained=trained, text=text)


def _train(
    search: Search, order: Order, index: int, dataset: Dataset, means: Means, tell: Tell, stopped: Callable[[], bool]
) -> Trained:
    """Train one network to its end, and tell of its batches, of its epochs and of how it is judged."""

    def on_batch(epoch: int, batch: int, batches: int) -> None:
        done, total = epoch * batches + batch, order.recipe.epochs * batches
        tell(Message(kind="batch", index=index, done=done, total=total))

    def on_judged(phase: str, done: int, total: int) -> None:
        tell(Message(kind="judged", index=index, done=done, total=total, text=phase))

    return train(
        order.candidate.architecture,
        search.settings.task,
        dataset,
        order.recipe,
        order.folder,
        convention=search.settings.convention,
        judging=means.judging,
        accelerator=means.accelerator,
        tensorboard=means.tensorboard,
        fuse=means.fuse,
        on_batch=on_batch,
        on_judged=on_judged,
        on_epoch=lambda line: tell(Message(kind="epoch", index=index, line=line)),
        stopped=stopped,
    )


def _where_left(order: Order, left: Path | None) -> Order:
    """An order in the folder `left` that has its state, where its own has none."""

    def begun(folder: Path) -> bool:
        return any((folder / name).exists() for name in (WEIGHTS, RESUME))

    return replace(order, folder=left) if left is not None and begun(left) and not begun(order.folder) else order


def claim(trainings: Trainings, order: Order, dataset: Dataset, presence: Presence) -> Claim | Training | Taken:
    """Claim the network of an order, while `presence` is in context."""
    return trainings.claim(
        order.candidate,
        recipe_name=order.recipe.label,
        recipe_hash=order.recipe.hash,
        seed=order.recipe.seed,
        data=dataset.name,
        data_fingerprint=dataset.fingerprint(),
        presence=presence,
    )


def _claim(
    trainings: Trainings, order: Order, dataset: Dataset, means: Means, presence: Presence | None
) -> Claim | Message | None:
    """The claim to train, or why there is nothing to do; None in the other processes of torchrun, which only help."""
    found: Claim | Training | Taken | None = None
    if presence is not None:
        found = claim(trainings, order, dataset, presence)
    ours = isinstance(found, Claim)
    if world() > 1:
        ours = make_fabric(order.recipe, means.accelerator).broadcast(ours)
    if isinstance(found, Training):
        return Message(kind="trained", training=found, before=True)
    if isinstance(found, Taken):
        return Message(kind="taken", text=f"process {found.process} on {found.host} is training it")
    return found if ours else Message(kind="taken")


def store(claim: Claim, order: Order, dataset: Dataset, trained: Trained) -> Training:
    """Put what came of a training into the study, with its learning curve."""
    candidate, recipe, measured = order.candidate, order.recipe, trained.measured
    assert candidate.number is not None
    training = Training(
        number=claim.number,
        search_trial=candidate.number,
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


@contextlib.contextmanager
def _present(trainings: Trainings) -> Iterator[Presence | None]:
    """This process said to be at work; of those of torchrun only the first says so."""
    if rank():
        yield None
    else:
        with Presence(trainings.study, retires=False) as presence:
            yield presence


@contextlib.contextmanager
def _one_first(recipe: Recipe, accelerator: str) -> Iterator[None]:
    """The first of torchrun's processes goes through alone, then the others."""
    fabric = make_fabric(recipe, accelerator) if world() > 1 else None
    if fabric is not None and rank():
        fabric.barrier()
    yield
    if fabric is not None and not rank():
        fabric.barrier()


def rank() -> int:
    """Which of torchrun's processes this is, 0 without it: the first one judges, writes and speaks."""
    return int(os.environ.get("RANK", 0))


def world() -> int:
    """How many processes torchrun has started for one training, 1 without it."""
    return int(os.environ.get("WORLD_SIZE", 1))


class _Crew:
    """Processes that each carry out one order after the other; in context, at whose end none is left."""

    def __init__(self, search: Search, todo: Sequence[Order], means: Means, count: int) -> None:
        context = multiprocessing.get_context("spawn")  # torch does not survive a fork
        self._todo = todo
        self._processes = {}
        for number in range(min(count, len(todo))):
            with environment(**_share(number, count, means.accelerator)), undisturbed():
                ours, theirs = context.Pipe()
                given = (theirs, search.study.study_name, search.storage, tuple(todo), means)
                process = context.Process(target=_work, args=given, daemon=True)
                process.start()
            theirs.close()  # the worker has the other copy: when it dies, the pipe ends
            self._processes[ours] = process

    def __enter__(self) -> "_Crew":
        return self

    def __exit__(self, *ended: object) -> None:
        for pipe, process in self._processes.items():
            process.kill()
            process.join()
            pipe.close()

    def lead(self, tell: Tell, stopped: Callable[[], bool]) -> list[Message]:
        """Hand out the orders, and return what became of each."""
        left = deque(range(len(self._todo)))
        at = dict.fromkeys(self._processes, -1)  # the order that a worker is at, -1 of one that starts
        ends: dict[int, Message] = {}
        asked, last = False, ""
        while at and len(ends) < len(self._todo):
            if stopped() and not asked:
                asked = True
                ends.update({index: Message(kind="stopped", index=index) for index in left})
                left.clear()
                for process in self._processes.values():
                    process.terminate()  # which it takes as a wish: it keeps its state first
            for pipe in wait(list(at), timeout=0.5):
                assert isinstance(pipe, Connection)
                try:
                    message: Message = pipe.recv()
                except (EOFError, OSError):
                    self._processes[pipe].join()
                    last = death(self._processes[pipe])
                    message = Message(kind="failed", index=at.pop(pipe), text=last)
                if message.kind in ("batch", "judged", "epoch"):
                    tell(message)
                    continue
                if message.index >= 0:
                    ends[message.index] = message
                    tell(message)
                elif message.kind == "failed":  # before it had an order: it takes none
                    at.pop(pipe, None)
                    last = message.text
                if pipe in at and left:
                    at[pipe] = left.popleft()
                    try:
                        pipe.send(at[pipe])
                    except OSError:  # it has ended since
                        left.appendleft(at.pop(pipe))
                elif pipe in at:
                    del at[pipe]
        for index in left:
            ends[index] = Message(kind="failed", index=index, text=f"no worker is left to train it; the last: {last}")
            tell(ends[index])
        return [ends[index] for index in sorted(ends)]


def _work(pipe: "Connection[Message, int]", name: str, storage: str, todo: Sequence[Order], means: Means) -> None:
    """A worker's life. It takes Ctrl-C, which a whole group gets, and SIGTERM as the wish to keep its state and end."""
    wishes: list[int] = []
    for number in STOPS:
        signal.signal(number, lambda number, frame: wishes.append(number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
    index = -1
    try:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        search = open_search(name, storage, write=True)
        trainings = open_trained(search, create=True, artifacts=_artifacts(search, todo))
        dataset = load(means.data, search.settings.task, means.data_root, frames=todo[0].recipe.frames)
        with _present(trainings) as presence:
            pipe.send(Message(kind="ready"))
            while not wishes:
                index = pipe.recv()
                try:
                    _carry_out(trainings, todo[index], index, dataset, means, presence, pipe.send, lambda: bool(wishes))
                except ValueError as error:  # of this order alone
                    pipe.send(Message(kind="failed", index=index, text=one_line(str(error))))
                index = -1
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass  # the command has gone
    except Exception as error:
        kind = "" if isinstance(error, ValueError | OSError | RuntimeError) else f"{type(error).__name__}: "
        with contextlib.suppress(OSError):
            pipe.send(Message(kind="failed", index=index, text=one_line(f"{kind}{error}")))


def _artifacts(search: Search, todo: Sequence[Order]) -> Path:
    """Where learning curves go: beside the storage's file, else beside the trained networks."""
    return folder_of(search.storage) or todo[0].folder.parent / "artifacts"


def _share(number: int, count: int, accelerator: str) -> dict[str, str]:
    """What worker `number` of `count` has of the machine: its part of the processors, and one of the GPUs."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    share = {"OMP_NUM_THREADS": str(max(1, processors // count))}
    gpus = torch.cuda.device_count() if accelerator != "cpu" else 0
    if gpus:
        seen = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(gpus)))).split(",")
        share["CUDA_VISIBLE_DEVICES"] = seen[number % len(seen)]
    return share
