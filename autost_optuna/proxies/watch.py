"""Watch a network run: every product of matrices and convolution that torch carries out, whatever code asks for it.

The watcher sees operations, not names of modules. Of each operand it learns where it comes from (weights, or the input and
which neurons it passed) and what values it takes over the whole run; so it is known only at the end what drives an operation.
"""

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from autost_optuna.proxies.audited import ITSELF
from autost_optuna.proxies.code import caller, place_of, uncompiled
from autost_optuna.proxies.known import count_weights, is_neuron, is_ours, steps_in
from autost_optuna.proxies.origins import Origins, Tag, fills, tensors_in
from autost_optuna.proxies.products import RULES, Call, Uncounted, known_of
from autost_optuna.proxies.whole import Whole, whole_numbers


@dataclass(slots=True)
class Operand:
    """What one operand of an operation was in all calls: the largest value if all are whole numbers from 0, else None."""

    fixed: bool = True
    most: int | None = 0
    least: int = 1
    neurons: frozenset[str] = frozenset()
    summed: bool = False
    read: int = 0
    total: float = 0.0

    def learn(self, count: int, found: "Whole | None") -> None:
        """Take `count` values of one call into account, which were `found` to be whole numbers, or not."""
        self.read += count
        if found is None or self.most is None:
            self.most = None
            return
        self.most, self.least = max(self.most, found.most), min(self.least, found.least)
        self.total += found.total

    @property
    def spikes(self) -> bool:
        """Whether it can drive an operation: whole numbers from 0, not all alike unless a known neuron sent them."""
        whole = not self.fixed and self.most is not None
        return whole and (bool(self.neurons - INPUT) or not self.constant)

    @property
    def constant(self) -> bool:
        """Whether all its values are equal, 0 or 1."""
        return self.most is not None and self.most == self.least <= 1


@dataclass(slots=True)
class Watched:
    """An operation in all its calls: `reached` are the accumulates if the left, the right or both operands drive it.

    `outer` counts the vectors that it reads, over images, steps and tokens; of a convolution the images of all steps.
    """

    module: str
    kind: str
    line: str
    calls: int = 0
    macs: int = 0
    written: int = 0
    outer: int = 0
    operands: tuple[Operand, Operand] = field(default_factory=lambda: (Operand(), Operand()))
    reached: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])


@dataclass(slots=True)
class Sent:
    """What a layer of known neurons sent in all calls: so many `values`, none above `most`.

    `places` are the time steps and values by the place in the code that called it: where a layer is used twice, its neurons
    are twice as many.
    """

    calls: int = 0
    values: int = 0
    most: int = 1
    places: dict[tuple[int, ...], tuple[int, int]] = field(default_factory=dict)

    @property
    def steps(self) -> int:
        """The time steps that it took."""
        return max((steps for steps, _ in self.places.values()), default=0)


NOBODY: frozenset[str] = frozenset()
INPUT = frozenset({"the input"})  # in place of neurons, of what a network is given


class Watch(TorchDispatchMode):
    """`run` a network once: all operations are recorded in `rows`, and what is not charged in `uncharged`.

    `sent` are its layers of known neurons, by their paths, and `params` the number of its weights. Only with `sums` are the
    numbers known that these send.
    """

    def __init__(self, network: nn.Module, *, sums: bool = False) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.rows: dict[tuple[Any, ...], Watched] = {}
        self.uncharged: Counter[str] = Counter()
        self.sent: dict[str, Sent] = {}
        self.params = count_weights(network)
        self.unknown: str | None = None  # a module that makes spikes or whole numbers and is no known neuron
        self._inside = 0
        self._network, self._sums = network, sums
        self._real_input = is_ours(network)  # as in its ledger
        self._path: list[str] = []
        self._origins = Origins((*network.parameters(), *network.buffers()))
        self._buffers = {self._origins.key(one): one.numel() for one in network.buffers()}
        self._looked: dict[tuple[Any, ...], Whole | None] = {}
        self._thread = threading.get_ident()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No: torch's wrapper around every operation would take a tenth of the time of a small one."""
        return False

    def run(self, *inputs: Any) -> None:
        """Run the network. Uncounted if it carries out a product for which there is no rule."""
        for one in tensors_in(inputs):
            self._origins.put(one, Tag(False, INPUT), replace=True)
        handles, fast = [], torch.backends.mha.get_fastpath_enabled()
        try:
            torch.backends.mha.set_fastpath_enabled(False)  # which hides products in one operation
            for name, module in self._network.named_modules():
                neuron = is_neuron(module)
                handles.append(module.register_forward_pre_hook(self._enter(name, neuron)))
                leave = self._leave(name, neuron)
                handles.append(module.register_forward_hook(leave, always_call=True))
            with uncompiled(), self:
                self._network(*inputs)
        finally:
            torch.backends.mha.set_fastpath_enabled(fast)
            for handle in handles:
                handle.remove()

    def _enter(self, name: str, neuron: bool) -> Callable[..., None]:
        def enter(module: nn.Module, inputs: Any) -> None:
            if threading.get_ident() != self._thread:
                raise Uncounted(
                    f"{name} runs in a thread of its own, which cannot be watched; its energy cannot be stated"
                )
            self._path.append(name)
            self._inside += neuron
            if isinstance(module, nn.LSTM):  # in oneDNN it would be one operation
                self._mkldnn = torch._C._get_mkldnn_enabled()
                torch._C._set_mkldnn_enabled(False)

        return enter

    def _leave(self, name: str, neuron: bool) -> Callable[..., None]:
        def leave(module: nn.Module, inputs: Any, output: Any) -> None:
            if threading.get_ident() != self._thread:
                return
            self._path.pop()
            self._inside -= neuron
            if isinstance(module, nn.LSTM):
                torch._C._set_mkldnn_enabled(self._mkldnn)
            if neuron and (sent := tensors_in(output)[:1]):
                self._origins.put(sent[0], Tag(False, frozenset({name})), replace=True)
                self._hear(self.sent.setdefault(name, Sent()), module, sent[0])

        return leave

    def _hear(self, known: Sent, module: nn.Module, sent: Tensor) -> None:
        known.calls += 1
        known.values += sent.numel()
        place = caller()
        steps, values = known.places.get(place, (0, 0))
        known.places[place] = steps + steps_in(module, sent), values + sent.numel()
        if self._sums and sent.numel():
            known.most = max(known.most, int(sent.max()))

    def neurons(self, images: int) -> int:
        """The number of known neurons that one image has."""
        places = [place for sent in self.sent.values() for place in sent.places.values()]
        return sum(values // max(1, steps * images) for steps, values in places)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Record an operation and carry it out."""
        kwargs = kwargs or {}
        known = known_of(func)
        if known.composite:  # under inference_mode torch leaves it to this mode to take an operation apart
            with self:
                found = func.decompose(*args, **kwargs)
            if found is not NotImplemented:
                return found
        if known.refused:
            raise Uncounted(f"no rule counts {known.name} in {self._module}; its energy cannot be stated")
        given = tensors_in(args)
        if kwargs:
            given += tensors_in(kwargs)
        tags = self._origins.tags(given)
        out = func(*args, **kwargs)
        if (rule := RULES.get(known.name)) is not None:
            for part, call in rule(args, kwargs, out):
                self._record(f"{known.name} {part}".strip(), call)
        fixed = known.makes or all(tag.fixed for tag in tags)
        neurons = [tag.neurons for tag in tags if tag.neurons]
        passes = known.passes and (known.name != "mul" or len(neurons) == 2)  # a factor would make them real values
        passed = neurons[0].union(*neurons[1:]) if neurons and passes and not fixed else NOBODY
        if known.discrete and not fixed and not self._inside and self.unknown is None:
            self.unknown = self._module
        if known.uncharged and not fixed:
            self.uncharged[known.uncharged] += sum(one.numel() for one in tensors_in(out)[:1])
        summed = bool(passed) and (known.adds or any(tag.summed for tag in tags))
        whole = known.name in ("copy_", "fill_", "zero_") and fills(args[0])
        if whole and known.name == "copy_":
            fixed, passed, summed = tags[1]
        tag = Tag(fixed, passed, summed)
        for one in [out] if type(out) is Tensor else tensors_in(out):
            self._origins.put(one, tag, replace=whole)
        for place in known.writes:
            for one in tensors_in(args[place] if place < len(args) else kwargs.get(known.names[place])):
                self._origins.put(one, tag, replace=whole)
        return out

    @property
    def _module(self) -> str:
        return self._path[-1] if self._path and self._path[-1] else ITSELF

    def _look(self, values: Tensor) -> "Whole | None":
        """What the values of an operand are; those that several operations read, such as q, k and v, are looked at once."""
        if values.is_inference() or values.layout != torch.strided:
            return whole_numbers(values)
        key = self._origins.key(values), values._version, values.storage_offset(), values.shape, values.stride()
        if key not in self._looked:
            self._looked[key] = whole_numbers(values)
        return self._looked[key]

    def _record(self, kind: str, call: Call) -> None:
        sides = (call.left, call.right)
        tags = self._origins.tags(sides)
        if call.inside:
            tags[0] = Tag(False, NOBODY)
        # The same line with other weights, or now with spikes and now with constants, is another operation.
        weights = [self._origins.weight(one) if tag.fixed else None for one, tag in zip(sides, tags, strict=True)]
        for one, tag in zip(sides, tags, strict=True):
            if tag.fixed:  # weights may be held in a buffer
                self.params += self._buffers.pop(self._origins.key(one), 0)
        module = self._path[-1] if self._path else ""
        place, line = place_of()
        row = self.rows.setdefault((module, kind, place, *weights), Watched(module, kind, line))
        row.calls += 1
        row.macs += call.macs
        row.written += call.written
        row.outer += call.outer[0 if not tags[0].fixed else 1]
        for side, (values, tag) in enumerate(zip(sides, tags, strict=True)):
            operand = row.operands[side]
            operand.fixed &= tag.fixed
            operand.neurons |= tag.neurons
            operand.summed |= tag.summed
            if tag.fixed:
                continue
            real = operand.most is None or (self._real_input and tag.neurons == INPUT)
            found = None if real else self._look(values)
            operand.learn(values.numel(), found)
            if found is not None:
                row.reached[side] += call.alone[side](found.total)
        if all(one.most is not None and not one.fixed for one in row.operands):
            row.reached[2] += call.both()
