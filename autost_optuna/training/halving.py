"""Successive halving: train members of a front side by side, and continue only the better half after each rung.

Jamieson and Talwalkar, AISTATS 2016, arXiv 1502.07943. Rungs are epochs of the full schedule, so a member that continues ends
exactly as it would without halving. A member that drops out keeps its state, and later training continues from there. Only
accuracy decides, so members with little energy drop out first. studies/halving measures what this saves and loses.

Optuna's SuccessiveHalvingPruner is the asynchronous form (Li et al., MLSys 2020, arXiv 1810.05934): it judges a trial when it
reports, against earlier reports only, always lets the first one continue, and never resumes a trial, so that survival depends
on the order in which workers report. Optuna also does not prune in studies with two objectives, such as those of trained
networks. `survivors` judges all members of a rung at once, in any order; for the member that reports last, the pruner gives
the same result (tests/test_halving.py).
"""

import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from types import TracebackType

from autost_optuna.data import Dataset
from autost_optuna.search.presence import Presence
from autost_optuna.search.search import Search
from autost_optuna.training.claims import Claim, Records
from autost_optuna.training.member import Workshop, claim, store
from autost_optuna.training.members import carry_out, foretell, prepare
from autost_optuna.training.orders import Means, Message, Order, Tell, key_of, world
from autost_optuna.training.record import Record, Taken
from autost_optuna.training.resume import Assignment, Result, log_of
from autost_optuna.units import counted, one_line


@dataclass(frozen=True, kw_only=True, slots=True)
class RungStanding:
    """A member at a rung: its trial, mean validation accuracy over seeds (None if it failed), and energy in mJ."""

    number: int
    accuracy: float | None
    energy_mj: float


def rungs(members: int, epochs: int, warmup_share: float = 0.0) -> tuple[int, ...]:
    """The epochs, ascending, after which half of `members` drop out: ceil(epochs / 2^k), enough to leave one member.

    None lies within the warm-up, whose low rates do not show a network's quality; more than one member may then remain.
    """
    found = {math.ceil(epochs / 2**k) for k in range(1, members.bit_length())}
    return tuple(sorted(rung for rung in found if warmup_share * epochs < rung < epochs))


def survivors(standings: Sequence[RungStanding]) -> list[int]:
    """The members that continue, best first: half of all, rounded down, but at least one; never one that failed.

    If accuracies are equal, less energy is better, then a lower number.
    """
    ranked = sorted((-one.accuracy, one.energy_mj, one.number) for one in standings if one.accuracy is not None)
    return [number for _, _, number in ranked[: max(1, len(standings) // 2)]]


def train_by_halving(
    search: Search,
    todo: Sequence[Order],
    means: Means,
    *,
    tell: Tell = lambda message: None,
    on_frames: Callable[[str, int, int], None] = lambda split, done, total: None,
    stopped: Callable[[], bool] = lambda: False,
) -> list[Record]:
    """Train all networks to the first rung, then the better half of the members to the next, and return those that finish.

    A member is a candidate with all its seeds, judged by their mean. Epochs of a network that ended or dropped out before are
    not trained again. A member drops out if its loss is NaN or infinite or it runs out of memory. ValueError if there is
    nothing to halve; Stopped if `stopped()`; RuntimeError if another process trains one of them, a worker died, or none is
    left.
    """
    recipe, members = todo[0].recipe, list(dict.fromkeys(order.candidate.number or 0 for order in todo))
    levels = rungs(len(members), recipe.epochs, recipe.warmup_share)
    if world() > 1:
        raise ValueError("halving does not go with torchrun; train by --workers K, or leave --halving out")
    if other := next((order for order in todo if order.candidate.number is None), None):
        raise ValueError(f"{other.title} is no trial of the search, so halving cannot drop it; leave --halving out")
    if len(members) < 2:
        raise ValueError(
            f"one member, trial {members[0]}, leaves nothing to halve; give --front K, or leave --halving out"
        )
    if recipe.patience:
        raise ValueError(f"patience {recipe.patience} ends trainings at epochs of their own; set it to 0 for --halving")
    if not levels:
        raise ValueError(
            f"epochs {recipe.epochs} leave no rung beyond the warm-up; train for more, or leave --halving out"
        )
    dataset, trainings, todo = prepare(search, todo, means, on_frames)
    judged = trainings.accuracies()
    fresh = [order for order in todo if key_of(order, dataset) not in judged]
    if text := foretell(trainings, fresh, dataset, means):
        tell(Message(kind="forecast", text=f"{text}; halving leaves a part of it out"))
    began, seeds, before, spent = len(members), len(todo) // len(members), 0, 0
    with (
        Presence(trainings.study, retires=False) as presence,
        _Field(trainings, todo, dataset, presence, tell) as field,
    ):
        for level in (*levels, recipe.epochs):
            field.advance(members, level, means, stopped)
            spent, before = spent + (level - before) * len(members) * seeds, level
            standings = field.standings(members, level)
            entered, members = members, survivors(standings)
            if level == recipe.epochs:
                members = [one.number for one in standings if one.accuracy is not None]
            field.drop([number for number in entered if number not in members], level)
            if not members:
                raise RuntimeError(f"the trainings of all {len(entered)} members failed; the reasons stand above")
            if level < recipe.epochs:
                tell(Message(kind="rung", text=_verdict(standings, members, level, recipe.epochs)))
        planned = began * seeds * recipe.epochs
        tell(
            Message(
                kind="rung",
                text=f"{spent} of {planned} epochs: {1 - spent / planned:.0%} saved; {len(members)} of {began} members remain: "
                f"{_trials(members)}",
            )
        )
        return field.trained(members)


def _verdict(standings: Sequence[RungStanding], kept: Sequence[int], level: int, epochs: int) -> str:
    """The result of a rung in words."""
    best = max(one.accuracy for one in standings if one.accuracy is not None)
    out = [one.number for one in standings if one.number not in kept]
    return (
        f"after {level} of {epochs} epochs {len(kept)} of {counted(len(standings), 'member')} go on, the best with "
        f"{best:.2%}: trial {kept[0]}; {_trials(out)} out"
    )


def _trials(numbers: Sequence[int]) -> str:
    return f"trial{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"


class _Field:
    """The networks of a halving: their results so far, and the claims on those in training.

    No claim outlives the context.
    """

    def __init__(
        self, trainings: Records, todo: Sequence[Order], dataset: Dataset, presence: Presence, tell: Tell
    ) -> None:
        self._trainings, self._presence = trainings, presence
        self._todo, self._dataset, self._tell = todo, dataset, tell
        self._keys = [key_of(order, dataset) for order in todo]
        self._accuracies = trainings.accuracies()
        self._ended = {training.key: training for training in trainings.all()}
        self._held: dict[int, Claim] = {}
        self._failures: dict[int, str] = {}
        for index, key in enumerate(self._keys):
            if key in self._ended:
                self._know(index, self._ended[key])

    def __enter__(self) -> "_Field":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        reason = one_line(str(error)) if str(error) else "stopped; its state is kept"
        for held in self._held.values():
            with contextlib.suppress(Exception):  # the first error is the one to report
                held.fail(reason)

    def advance(self, members: Sequence[int], until: int, means: Means, stopped: Callable[[], bool]) -> None:
        """Train the networks of `members` to epoch `until`, except those with known results."""
        work = [index for index in self._of(members) if self._lacks(index, until) and self._claimed(index)]

        def tell(message: Message) -> None:
            self._presence.beat()
            index = work[message.index]
            if message.trained is not None:  # stored before it is reported
                message = replace(message, kind="trained", training=self._keep(index, message.trained), trained=None)
            self._tell(replace(message, index=index))

        orders = [replace(self._todo[index], until=until) for index in work]
        ends = carry_out(Workshop(self._trainings, self._dataset, means, tell, stopped), orders) if work else []
        for index, end in zip(work, ends, strict=True):
            if end.kind == "reached":
                self._accuracies[self._keys[index]] = end.accuracies
            elif end.itself:
                self._failures[index] = end.text
        lost = sum(end.kind == "failed" and not end.itself for end in ends)
        if lost:
            raise RuntimeError(
                f"{lost} of {counted(len(ends), 'training')} ended before epoch {until}; the reasons stand above: repeat the "
                "command to go on"
            )

    def standings(self, members: Sequence[int], level: int) -> list[RungStanding]:
        """The members after epoch `level`; a member has failed if one of its seeds has."""
        found = []
        for number in members:
            indices = self._of([number])
            failed = any(index in self._failures for index in indices)
            accuracy = None if failed else fmean(self._accuracies[self._keys[index]][level - 1] for index in indices)
            energy_mj = self._todo[indices[0]].candidate.energy_mj
            found.append(RungStanding(number=number, accuracy=accuracy, energy_mj=energy_mj))
        return found

    def drop(self, members: Sequence[int], level: int) -> None:
        """Drop members after epoch `level`; their states are kept."""
        for index in self._of(members):
            held, order = self._held.pop(index, None), self._todo[index]
            if held is not None and index in self._failures:
                held.fail(self._failures[index])
            elif held is not None:
                accuracies = self._accuracies[self._keys[index]]
                held.drop(level, accuracies, all_epochs=order.recipe.epochs, path=order.folder)

    def trained(self, members: Sequence[int]) -> list[Record]:
        """The trained networks of members that finished."""
        return [self._ended[self._keys[index]] for index in self._of(members)]

    def _of(self, members: Sequence[int]) -> list[int]:
        return [index for index, order in enumerate(self._todo) if order.candidate.number in members]

    def _lacks(self, index: int, until: int) -> bool:
        """Whether a network must be trained to know its accuracy at epoch `until`."""
        last = until == self._todo[index].recipe.epochs
        key = self._keys[index]
        return key not in self._ended and (last or len(self._accuracies.get(key, ())) < until)

    def _claimed(self, index: int) -> bool:
        """Whether this process holds the claim on a network, from before or from now. RuntimeError if another one trains it."""
        if index in self._held:
            return True
        found = claim(self._trainings, self._todo[index], self._dataset, self._presence)
        if isinstance(found, Taken):
            raise RuntimeError(
                f"process {found.process} on {found.host} is training trial {self._todo[index].candidate.number}; wait for it, "
                "then repeat the command"
            )
        if isinstance(found, Record):
            self._know(index, found)
            return False
        self._held[index] = found
        return True

    def _know(self, index: int, training: Record) -> None:
        """Use the result of a network that ended before. ValueError if its accuracies after each epoch are lost."""
        key, order = self._keys[index], self._todo[index]
        if key not in self._accuracies:
            task = self._trainings.search.settings.task
            identity = Assignment(order.candidate.architecture, task, self._dataset, order.recipe).identity
            log = log_of(Path(training.path), identity)
            if not log:
                raise ValueError(
                    f"trial {order.candidate.number} was trained before, and its learning curve is not kept; give another "
                    "--seed, or leave --halving out"
                )
            self._accuracies[key] = tuple(line.validation_accuracy for line in log)
        self._ended[key] = training
        self._tell(Message(kind="trained", index=index, training=training, before=True))

    def _keep(self, index: int, trained: Result) -> Record:
        """Store the result of a complete training."""
        training = store(self._held[index], self._todo[index], self._dataset, trained)
        del self._held[index]
        self._ended[self._keys[index]] = training
        return training
