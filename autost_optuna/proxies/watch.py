"""Watch a network run: every product of matrices and convolution that torch carries out, whatever code asks for it.

The watcher sees operations, not names of modules. Of each operand it learns where it comes from (weights, or the input and
which neurons it passed) and what values it takes over the whole run; so it is known only at the end what drives an operation.
"""

import sys
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from autost_optuna.proxies.products import MOST, REFUSED, RULES, Call, Uncounted, sum_of

FIRST = 4096  # values that are looked at before all others: among real ones some is hardly ever a whole number
NEURONS = {"spikingjelly": "BaseNode", "snntorch": "SpikingNeuron", "norse": "SNN", "autost_optuna": "NeuronModule"}
UNCHARGED = {  # what conventions leave out, by what operations of torch are called
    "normalisation": ("batch_norm", "layer_norm", "group_norm", "instance_norm"),
    "pooling": ("pool",),
    "additions": ("add", "sub"),
    "multiplications": ("mul", "div"),
}


class Tag(NamedTuple):
    """Where a tensor comes from: weights and constants alone if `fixed`; else from `neurons`, by the paths of their modules."""

    fixed: bool
    neurons: frozenset[str]


@dataclass(slots=True)
class Operand:
    """What one operand of an operation was in all calls: the largest value if all are whole numbers from 0, else None."""

    fixed: bool = True
    most: int | None = 0
    least: int = 1
    neurons: frozenset[str] = frozenset()
    read: int = 0
    total: float = 0.0

    @property
    def spikes(self) -> bool:
        """Whether it can drive an operation: whole numbers from 0, not all alike unless a known neuron sent them."""
        return not self.fixed and self.most is not None and (bool(self.neurons) or not self.constant)

    @property
    def constant(self) -> bool:
        """Whether all its values are equal, 0 or 1."""
        return self.most is not None and self.most == self.least <= 1


@dataclass(slots=True)
class Watched:
    """An operation in all its calls: `reached` are the accumulates if the left, the right or both operands drive it."""

    module: str
    kind: str
    place: str
    calls: int = 0
    macs: int = 0
    operands: tuple[Operand, Operand] = field(default_factory=lambda: (Operand(), Operand()))
    reached: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])


class Watch(TorchDispatchMode):
    """Within the context, all operations of a network are recorded in `rows`, and what is not charged in `uncharged`.

    RuntimeError in the network's forward pass if it carries out a product for which there is no rule.
    """

    def __init__(self, network: nn.Module, inputs: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.rows: dict[tuple[str, str, str], Watched] = {}
        self.uncharged: Counter[str] = Counter()
        self._modules = {module: name for name, module in network.named_modules()}
        self._path: list[str] = []
        self._weights = {
            one.untyped_storage().data_ptr() for one in (*network.parameters(), *network.buffers()) if one.numel()
        }
        self._tags: dict[int, tuple[weakref.ref[Tensor], Tag]] = {}
        self._handles: list[Any] = []
        for one in inputs:
            self._put(one, Tag(False, frozenset()))

    def __enter__(self) -> "Watch":
        for module, name in self._modules.items():
            self._handles += [
                module.register_forward_pre_hook(lambda m, i, name=name: self._path.append(name)),
                module.register_forward_hook(self._leave(name, _is_neuron(module)), always_call=True),
            ]
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        for handle in self._handles:
            handle.remove()
        super().__exit__(*error)  # type: ignore[no-untyped-call]

    def _leave(self, name: str, neuron: bool) -> Callable[..., None]:
        def leave(module: nn.Module, inputs: Any, output: Any) -> None:
            self._path.pop()
            if neuron and (sent := next(_tensors(output), None)) is not None:
                self._put(sent, Tag(False, frozenset({name})))

        return leave

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Record an operation and carry it out."""
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        name = func._schema.name.removeprefix("aten::")
        tags = [self._tag(one) for one in _tensors((args, tuple(kwargs.values())))]
        rule = RULES.get(name)
        if rule is not None:
            for part, product in rule(args, kwargs, out):
                self._record(f"{name} {part}".strip(), product)
            tag = Tag(all(tag.fixed for tag in tags), frozenset())
        elif name in REFUSED:
            raise Uncounted(f"no rule counts {name} in {self._module}; its energy cannot be stated")
        else:
            moved = [tag for tag in tags if not tag.fixed]
            tag = Tag(not moved, frozenset().union(*(tag.neurons for tag in moved)))
            self._leave_out(name, tags, out)
        for one in _tensors(out):
            self._put(one, tag)
        return out

    @property
    def _module(self) -> str:
        return self._path[-1] if self._path and self._path[-1] else "the network itself"

    def _leave_out(self, name: str, tags: Sequence[Tag], out: Any) -> None:
        if all(tag.fixed for tag in tags) or not isinstance(out, Tensor | tuple):
            return
        first = next(_tensors(out), None)
        for what, words in UNCHARGED.items():
            if first is not None and any(word in name for word in words):
                self.uncharged[what] += first.numel()
                return

    def _tag(self, one: Tensor) -> Tag:
        known = self._tags.get(id(one))
        if known is not None and known[0]() is one:
            return known[1]
        fixed = one.untyped_storage().data_ptr() in self._weights
        return Tag(fixed, frozenset())

    def _put(self, one: Tensor, tag: Tag) -> None:
        key = id(one)
        self._tags[key] = weakref.ref(one, lambda _: self._tags.pop(key, None)), tag

    def _record(self, kind: str, product: Call) -> None:
        place = _place()
        key = self._path[-1] if self._path else "", kind, place
        row = self.rows.setdefault(key, Watched(*key))
        row.calls += 1
        row.macs += product.macs
        for side, values in enumerate((product.left, product.right)):
            operand, tag = row.operands[side], self._tag(values)
            operand.fixed &= tag.fixed
            operand.neurons |= tag.neurons
            if not tag.fixed and (total := _look(operand, values)) is not None:
                row.reached[side] += product.alone[side](total)
        if all(one.most is not None and not one.fixed for one in row.operands):
            row.reached[2] += product.both()


def _look(operand: Operand, values: Tensor) -> float | None:
    """Learn from the values of an operand in one call; their sum if all were whole numbers until now."""
    operand.read += values.numel()
    if operand.most is None or not values.numel():
        return None
    if values.dtype == torch.bool:
        values = values.to(torch.uint8)
    low, high = (float(one) for one in values.aminmax())
    if low < 0 or high > MOST or not (_whole(values.reshape(-1)[:FIRST]) and _whole(values)):
        operand.most = None
        return None
    total = sum_of(values)
    operand.most = max(operand.most, int(high))
    operand.least = min(operand.least, int(low))
    operand.total += total
    return total


def _whole(values: Tensor) -> bool:
    return not values.is_floating_point() or torch.equal(values.round(), values)


def _tensors(values: Any) -> Iterator[Tensor]:
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, list | tuple):
        for one in values:
            yield from _tensors(one)


def libraries_of(module: nn.Module) -> dict[str, list[str]]:
    """The classes that a module is of, by the names of their libraries."""
    found: dict[str, list[str]] = {}
    for base in type(module).__mro__:
        found.setdefault(base.__module__.partition(".")[0], []).append(base.__name__)
    return found


def _is_neuron(module: nn.Module) -> bool:
    """Whether a module is a spiking neuron of a library that is known."""
    libraries = libraries_of(module)
    return any(name.startswith(start) for library, start in NEURONS.items() for name in libraries.get(library, ()))


def _place() -> str:
    """Where in the network's code an operation stands: a loop repeats it, and two on one line differ in their offset."""
    frame = sys._getframe(3)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "torch":
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}+{frame.f_lasti}"
