"""Where the values of tensors come from while a network runs: weights and constants, or the input by way of neurons."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef


class Tag(NamedTuple):
    """Where a tensor comes from: weights and constants alone if `fixed`; else from `neurons`, by the paths of their modules.

    It is `summed` if spikes were added.
    """

    fixed: bool
    neurons: frozenset[str]
    summed: bool = False


FIXED = Tag(True, frozenset())
NONE = (None, FIXED)


class Origins:
    """The tags of tensors, by the memory that they share with their views; what has none is a constant."""

    def __init__(self, weights: Iterable[Tensor]) -> None:
        self._weights = {_key(one) for one in weights}
        self._tags: dict[int, tuple[Any, Tag]] = {}  # memory is held weakly, so that its address stays its own

    def tag(self, one: Tensor) -> Tag:
        """The tag of a tensor."""
        return self._tags.get(_key(one), NONE)[1]

    def tags(self, some: Iterable[Tensor]) -> list[Tag]:
        """The tags of tensors."""
        known = self._tags
        return [known.get(_key(one), NONE)[1] for one in some]

    def put(self, one: Tensor, tag: Tag, *, replace: bool = False) -> None:
        """Add a tag to those of the memory of a tensor, or replace them."""
        try:
            storage = one.untyped_storage()
            key = storage._cdata
        except (NotImplementedError, RuntimeError):
            storage, key = None, id(one)
        before = self._tags.get(key)
        if before is None:
            self._tags[key] = (one if storage is None else StorageWeakRef(storage)), tag
        elif replace:
            self._tags[key] = before[0], tag
        elif before[1] != tag:
            self._tags[key] = (
                before[0],
                Tag(before[1].fixed and tag.fixed, before[1].neurons | tag.neurons, before[1].summed or tag.summed),
            )

    def key(self, one: Tensor) -> int:
        """A number for the memory of a tensor, which no other memory gets while this object lives, if it has a tag."""
        return _key(one)

    def weight(self, one: Tensor) -> int:
        """A number for the parameter or buffer whose memory a tensor shows; 0 if it shows none."""
        key = _key(one)
        return key if key in self._weights else 0


def tensors_in(values: Any) -> list[Tensor]:
    """All tensors in nested lists, tuples and dicts."""
    if isinstance(values, Tensor):
        return [values]
    if isinstance(values, dict):
        values = values.values()
    elif not isinstance(values, list | tuple):
        return []
    found: list[Tensor] = []
    for one in values:
        if isinstance(one, Tensor):
            found.append(one)
        elif isinstance(one, list | tuple | dict):
            found += tensors_in(one)
    return found


def _key(one: Tensor) -> int:
    """What is one for all views of the same memory."""
    try:
        return one.untyped_storage()._cdata  # type: ignore[no-any-return]
    except (NotImplementedError, RuntimeError):  # sparse tensors have several
        return id(one)


def fills(one: Tensor) -> bool:
    """Whether a tensor is all that its memory holds."""
    try:
        return one.numel() * one.element_size() == one.untyped_storage().nbytes()
    except (NotImplementedError, RuntimeError):
        return True
