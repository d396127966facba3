"""The exact front: every architecture of a space whose blocks share choices, or one of each class if none does.

Architectures of a class have equal neurons, width and depth, as many blocks of each kind of mixer, and equal MACs in every
role. So they have equal parameters and FLOPs; blocks stand in another order, or have other heads. With one of each class, the
front is exact in FLOPs, and in energy up to the spread within a class, which is measured on further architectures.
"""

import itertools
import random
import time
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean, stdev
from typing import Any

from autost_optuna import units
from autost_optuna.front.candidate import MEASURED, Candidate
from autost_optuna.front.constraints import Constraints, violation
from autost_optuna.front.front import Box, hypervolume, nondominated, unique
from autost_optuna.front.picks import numbers_of
from autost_optuna.network.architecture import Architecture
from autost_optuna.network.form import Form
from autost_optuna.network.task import Task
from autost_optuna.proxies.flops import count_flops, count_params
from autost_optuna.proxies.table import TableCheck
from autost_optuna.search.objective import Objective
from autost_optuna.space.alphabet import Letter, of_letters
from autost_optuna.space.classes import Kind, Sums, add, count_classes_in, footprint, kinds_of
from autost_optuna.space.sharing import BLOCK
from autost_optuna.space.space import Space

MOST_CLASSES = 20_000  # about 10 minutes on 2 cores
MOST_COUNTED = 100_000
SAMPLES = 100


def class_of(architecture: Architecture) -> Hashable:
    """What determines FLOPs and parameters: neuron, form, width, depths, and in every stage kinds of mixer and MACs by role."""
    blocks = iter(zip(architecture.mixers, architecture.mlp_ratio, strict=True))
    stages = []
    for width, depth in architecture.stages:
        total: Counter[str] = Counter()
        for letter in itertools.islice(blocks, depth):
            total.update(dict(footprint(letter, width, architecture.form)))
        stages.append((depth, frozenset(total.items())))
    return architecture.neuron, architecture.form, architecture.embed_dim, tuple(stages)


def representatives(space: Space) -> Iterator[Architecture]:
    """One architecture of each class, or every architecture of a space whose blocks share their choices.

    If there is a choice, it has the most heads, and wide blocks before narrow ones: among the orders tried, this one has the
    least energy (studies/exact). Each, except those with one block, extends an earlier one by a block, so that a
    measurement that reuses prefixes measures one block per class.
    """
    for layout, offered in space.layouts.every():
        if space.sharing.unit != BLOCK:
            every = ((letters, depths) for depths in offered for letters in space.sharing.every(layout, depths))
            if len(layout.widths) == 1:  # each depth extends the one before
                groups = (group for (stage,) in space.sharing.branches(layout.widths) for group in stage)
                every = (
                    (blocks, (depth,))
                    for group in groups
                    for (depth,) in offered
                    for blocks in itertools.product(group, repeat=depth)
                )
            yield from (of_letters(layout, depths, blocks) for blocks, depths in every)
            continue
        stages = zip(*offered, strict=True)
        words = [
            _words(space, layout.form, width, set(some)) for width, some in zip(layout.widths, stages, strict=True)
        ]
        if len(layout.widths) == 1:
            yield from (of_letters(layout, (len(word),), word) for word in words[0])
            continue
        for depths in offered:
            some = [[word for word in every if len(word) == depth] for every, depth in zip(words, depths, strict=True)]
            for chosen in itertools.product(*some):
                yield of_letters(layout, depths, list(itertools.chain(*chosen)))


def _words(space: Space, form: Form, width: int, depths: Collection[int]) -> list[list[Letter]]:
    """The blocks of one network of each class, for a stage of this width."""
    kinds = kinds_of(space.alphabet(width), width, form)
    parents: dict[Sums, tuple[int, ...]] = {(0,) * len(kinds[0].sums): ()}
    found: list[tuple[int, ...]] = []
    for depth in range(1, max(depths) + 1):
        children: dict[Sums, tuple[int, ...]] = {}
        for (place, kind), (total, places) in itertools.product(enumerate(kinds), parents.items()):
            children.setdefault(add(total, kind.sums), (*places, place))  # the first kind that fits comes last
        parents = children
        found += children.values() if depth in depths else ()
    return [[(kinds[place].mixers[-1], kinds[place].ratio) for place in places] for places in sorted(found)]


def count_classes(space: Space) -> int:
    """The number of architectures that `representatives` yields, without making them; counting stops above MOST_COUNTED."""
    if space.sharing.unit != BLOCK:
        return space.size
    return count_classes_in(space.layouts, space.sharing, MOST_COUNTED)


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassSpread:
    """Energies of further architectures, relative to the measured one of their class: 0.001 is 0.1 % more."""

    samples: int
    mean: float
    std: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """A member of the exact front."""

    architecture: Architecture
    params: int
    flops: int
    energy_mj: float

    @property
    def number(self) -> None:
        """The number of its trial: it has none."""


Found = Candidate | Member  # on a front, by a trial or in the exact one


@dataclass(frozen=True, kw_only=True, slots=True)
class ExactFront:
    """The front of a whole space, with its `hypervolume` in the study's box; `spread` is None if it was measured completely.

    With a `table`, it is the front under a table of rates, whose members were measured; the table took `table_s` seconds, the
    front `search_s`, and there are no classes. `unmeasured` members are known by the table alone.

    `classes` and `evaluated` count the measured classes and architectures. `best_hypervolume` is that of the same front if
    each class held an architecture that uses as little energy, relative to the measured one, as the lowest sample of any class.
    """

    members: tuple[Member, ...]
    classes: int
    evaluated: int
    hypervolume: float
    best_hypervolume: float
    spread: ClassSpread | None
    duration_s: float
    table: TableCheck | None = None
    unmeasured: int = 0
    table_s: float = 0.0
    search_s: float = 0.0

    @property
    def basis(self) -> str:
        """What it is exact by: its classes, or a table."""
        return f"{self.classes:,} classes" if self.table is None else "under a table of rates"

    def to_dict(self) -> dict[str, Any]:
        """The JSON form, with architectures as text, which is short enough for an attribute in any database."""
        rows = [{**asdict(member), "architecture": member.architecture.to_text()} for member in self.members]
        return {**asdict(self), "members": rows}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "ExactFront":
        """Read the form of `to_dict`."""
        members = [
            Member(**{**row, "architecture": Architecture.from_text(row["architecture"])}) for row in data["members"]
        ]
        spread = data["spread"] and ClassSpread(**data["spread"])
        table = data.get("table") and TableCheck(**data["table"])
        return cls(**{**data, "members": tuple(members), "spread": spread, "table": table})


def is_enumerable(space: Space) -> bool:
    """Whether a space has few enough classes to measure each."""
    return count_classes(space) <= MOST_CLASSES


def check_feasible(space: Space, task: Task, constraints: Constraints) -> None:
    """ValueError if counts alone show that no architecture of the space keeps the constraints.

    A space with too many classes to check each passes: its search will show.
    """
    offered = list(representatives(space)) if constraints and count_classes(space) <= MOST_CLASSES else []
    if offered and all(violation(constraints.of_counts(architecture, task)) for architecture in offered):
        params, flops = ([count(a, task) for a in offered] for count in (count_params, count_flops))
        depths = [architecture.depth for architecture in offered]
        nearest = min(offered, key=lambda architecture: violation(constraints.of_counts(architecture, task)))
        reason = constraints.refusal(nearest, task)
        left = "" if reason is None else f". {nearest.to_text()} comes nearest: {reason}"
        raise ValueError(
            f"no architecture of the space {space.name} keeps {constraints}: it has {units.count(min(params))} to "
            f"{units.parameters(max(params))}, {units.count(min(flops), 'FLOPs')} to {units.count(max(flops), 'FLOPs')}, depth "
            f"{min(depths)} to {max(depths)}; widen the bounds{left}"
        )


def exact_front(
    objective: Objective,
    box: Box,
    *,
    seed: int = 0,
    samples: int = SAMPLES,
    on_done: Callable[[int, int], None] = lambda done, total: None,
) -> ExactFront:
    """Measure every class of the objective's space and `samples` further architectures, and return the front.

    `on_done(done, total)` is called after each. RuntimeError if all are silent.
    """
    start = time.monotonic()
    space = objective.space
    constraints = objective.constraints
    chosen = [a for a in representatives(space) if not violation(constraints.of_counts(a, objective.task))]
    if not chosen:
        raise RuntimeError(f"no network keeps {constraints}; create the study with wider ones")
    further = [] if space.sharing.unit != BLOCK else list(siblings(chosen, space, samples, seed))
    measured: list[Candidate] = []
    for architecture in [*chosen, *further]:
        measured.append(objective.measure(architecture))
        on_done(len(measured), len(chosen) + len(further))
    if all(candidate.silent for candidate in measured):
        raise RuntimeError("every network of the space is silent on these images; create the study on others")
    spread = _spread(measured[: len(chosen)], measured[len(chosen) :])
    thrift = 1 + min(0.0, spread.low) if spread else 1.0
    best = [replace(candidate, energy_mj=candidate.energy_mj * thrift) for candidate in measured[: len(chosen)]]
    members, best = (
        nondominated(c for c in candidates if not violation(constraints.of_energy(c.energy_mj)))
        for candidates in (measured, best)
    )
    if not members:
        least = units.energy(min(candidate.energy_mj for candidate in measured if not candidate.silent))
        raise RuntimeError(f"no network keeps {constraints}; the least that one takes is {least}")
    return ExactFront(
        members=tuple(
            Member(architecture=m.architecture, params=m.params, flops=m.flops, energy_mj=m.energy_mj) for m in members
        ),
        classes=len(chosen),
        evaluated=len({candidate.architecture for candidate in measured}),
        hypervolume=hypervolume(members, box),
        best_hypervolume=hypervolume([*members, *best], box),
        spread=spread,
        duration_s=time.monotonic() - start,
    )


def member_rows(front: ExactFront, candidates: Iterable[Candidate]) -> list[dict[str, Any]]:
    """The members by ascending energy, as JSON rows; `number` is the trial with the architecture, None if there is none."""
    numbers = numbers_of(candidates)
    return [
        {
            "number": numbers.get(member.architecture.key),
            "architecture": member.architecture.to_dict(),
            "flops": member.flops,
            "energy_mj": member.energy_mj,
            "params": member.params,
            "rates": MEASURED,
        }
        for member in front.members
    ]


def siblings(chosen: Sequence[Architecture], space: Space, samples: int, seed: int) -> Iterator[Architecture]:
    """Up to `samples` other architectures of the classes of `chosen`, drawn at random: other ratios, orders or heads."""
    generator = random.Random(seed)
    networks = {(width, one.form) for one in chosen for width, _ in one.stages}
    kinds = {(width, form): kinds_of(space.alphabet(width), width, form) for width, form in networks}
    for _ in range(samples):
        first = generator.choice(chosen)
        each = iter(zip(first.mixers, first.mlp_ratio, strict=True))
        letters = [
            letter
            for width, depth in first.stages
            for letter in _sibling(kinds[width, first.form], list(itertools.islice(each, depth)), generator)
        ]
        mixers, ratios = zip(*letters, strict=True)
        other_one = replace(first, num_heads=(), mixer=mixers, mlp_ratio=ratios)
        if other_one != first:
            yield other_one


def _sibling(offered: Sequence[Kind], letters: Sequence[Letter], generator: random.Random) -> list[Letter]:
    """Other blocks for a stage, with the same sums."""
    pairs = list(itertools.product(offered, repeat=2))
    blocks = [next(kind for kind in offered if kind.ratio == ratio and part in kind.mixers) for part, ratio in letters]
    for one, other in itertools.pairwise(range(len(blocks))):
        total = add(blocks[one].sums, blocks[other].sums)
        blocks[one], blocks[other] = generator.choice([(a, b) for a, b in pairs if add(a.sums, b.sums) == total])
    generator.shuffle(blocks)
    return [(kind.mixers[int(generator.random() * len(kind.mixers))], kind.ratio) for kind in blocks]


def _spread(chosen: Sequence[Candidate], further: Sequence[Candidate]) -> ClassSpread | None:
    energies = {class_of(candidate.architecture): candidate.energy_mj for candidate in chosen if not candidate.silent}
    pairs = [(c.energy_mj, energies.get(class_of(c.architecture))) for c in unique(further)]
    ratios = [energy / base - 1 for energy, base in pairs if base is not None]
    if len(ratios) < 2:
        return None
    return ClassSpread(samples=len(ratios), mean=fmean(ratios), std=stdev(ratios), low=min(ratios), high=max(ratios))
