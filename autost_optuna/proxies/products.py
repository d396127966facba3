"""What operations of torch multiply: the operands, MACs, and the accumulates that spikes in either operand cause."""

import math
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

MOST = 127  # the largest number of spikes; images of 8-bit pixels hold larger numbers, and are real values
PIECE = 1 << 16  # float32 holds the sum of as many numbers up to MOST exactly


class Uncounted(RuntimeError):  # noqa: N818 - what it says of an operation
    """There is no rule for an operation, so that no energy can be stated."""


class Call(NamedTuple):
    """A call: both operands, its MACs, the values `written`, the vectors in either operand, and accumulates.

    `alone` gives those of the left or the right operand, from the sum of its values, if it alone drives the call; `both`
    those if both do. `inside`: the left operand is made in the operation, of real values that depend on the input.
    """

    left: Tensor
    right: Tensor
    macs: int
    written: int
    outer: tuple[int, int]
    alone: tuple[Callable[[float], float], Callable[[float], float]]
    both: Callable[[], float]
    inside: bool = False


def sum_of(values: Tensor) -> float:
    """The exact sum of whole numbers up to MOST."""
    over: list[int] = []
    count = 1
    for axis in reversed(range(values.dim())):
        count *= values.shape[axis]
        if count > PIECE:
            break
        over.append(axis)
    parts = _sum(values, tuple(over)) if over else values
    return float(parts.sum(dtype=torch.float64).item())


def _sum(values: Tensor, over: tuple[int, ...]) -> Tensor:
    """The exact sums over some dimensions, in float32 where it holds them: a tenth of the time of float64."""
    count = math.prod(values.shape[axis] for axis in over)
    return values.sum(over, dtype=torch.float32 if count <= PIECE else torch.float64)


def _matrices(left: Tensor, right: Tensor) -> Call:
    """[..., n, k] times [..., k, m]."""
    n, m = left.shape[-2], right.shape[-1]

    def both() -> float:
        return float((_sum(left, (-2,)).double() * _sum(right, (-1,))).sum().item())

    macs, inner = left.numel() * m, max(1, left.shape[-1])
    outer = left.numel() // inner, right.numel() // inner
    return Call(left, right, macs, macs // inner, outer, (lambda total: total * m, lambda total: total * n), both)


def _convolved(args: Any, kwargs: Any, out: Tensor) -> Iterator[tuple[str, Call]]:
    x, weight, _, stride, padding, dilation, transposed, _, groups = args
    spatial = weight.dim() - 2
    kernel = weight.shape[2:]
    small = x if transposed else out
    macs = small.shape[0] * math.prod(small.shape[2:]) * weight.numel()
    outputs = weight.shape[1] if transposed else weight.shape[0] // groups

    def reach(total: float) -> float:
        found = _sum(x, (0, 1)).double()
        for axis in range(spatial):
            strides, paddings, dilations = (some[axis % len(some)] for some in (stride, padding, dilation))
            along = Spacing(x.shape[2 + axis], out.shape[2 + axis], kernel[axis], strides, paddings, dilations)
            each = torch.tensor(_reached(along, transposed), dtype=torch.float64, device=x.device)
            found = torch.tensordot(each, found, dims=([0], [0]))
        return float(found.item() * outputs)

    def unknown(total: float = 0.0) -> float:
        return math.nan  # weights that depend on the input: an error if they turn out to drive it

    yield "", Call(x, weight, macs, out.numel(), (x.shape[0], x.shape[0]), (reach, unknown), unknown)


class Spacing(NamedTuple):
    """A convolution along one axis, from `size` places to `outputs`."""

    size: int
    outputs: int
    kernel: int
    stride: int
    padding: int
    dilation: int


@cache
def _reached(axis: Spacing, transposed: bool) -> list[int]:
    """How many outputs each place along an axis reaches; fewer at a padded border."""
    found = []
    for place in range(axis.size):
        if transposed:
            ends = [place * axis.stride - axis.padding + tap * axis.dilation for tap in range(axis.kernel)]
        else:
            starts = (place + axis.padding - tap * axis.dilation for tap in range(axis.kernel))
            ends = [start // axis.stride for start in starts if start % axis.stride == 0]
        found.append(sum(0 <= end < axis.outputs for end in ends))
    return found


def _attended(args: Any, kwargs: Any, out: Any) -> Iterator[tuple[str, Call]]:
    """softmax(q k^T) v in one operation: the scores are real values."""
    q, k, v = args[:3]
    if (
        q.dim() > 2 and k.shape[-3] != q.shape[-3]
    ):  # heads of q share those of k and v, so they are further rows of these
        q = q.unflatten(-3, (k.shape[-3], -1)).flatten(-3, -2)
    yield "qk", _matrices(q, k.transpose(-2, -1))
    scores = q.new_full((1,), 0.5).expand(*q.shape[:-1], k.shape[-2])
    yield "av", _matrices(scores, v)._replace(inside=True)


def _bilinear(args: Any, kwargs: Any, out: Tensor) -> Iterator[tuple[str, Call]]:
    """x W y for every output, as x W of [B, i] and [i, o j], and that times y of [B, j]."""
    x, weight, y = args[:3]
    if args[3:] != ([1, 3], [0], [1, 2], [2, 3]):
        raise Uncounted("no rule counts _trilinear but for bilinear layers; its energy cannot be stated")
    yield "xW", _matrices(x, weight.transpose(0, 1).flatten(1))
    between = x.new_full((1,), 0.5).expand(len(x), *weight.shape[::2])
    yield "Wy", _matrices(between, y.unsqueeze(-1))._replace(inside=True)


def _rule(left: int) -> Callable[[Any, Any, Any], Iterator[tuple[str, Call]]]:
    """Matrices at arguments `left` and `left` + 1; vectors are matrices of one column."""

    def rule(args: Any, kwargs: Any, out: Any) -> Iterator[tuple[str, Call]]:
        x, y = args[left], args[left + 1]
        x = x.unsqueeze(0) if x.dim() == 1 else x
        y = y.unsqueeze(1) if y.dim() == 1 else y
        yield "", _matrices(x, y)

    return rule


RULES: dict[str, Callable[[Any, Any, Any], Iterator[tuple[str, Call]]]] = {
    "mm": _rule(0),
    "bmm": _rule(0),
    "mv": _rule(0),
    "dot": _rule(0),
    "addmm": _rule(1),
    "baddbmm": _rule(1),
    "addbmm": _rule(1),
    "addmv": _rule(1),
    "convolution": _convolved,
    "_trilinear": _bilinear,
    "_scaled_dot_product_flash_attention_for_cpu": _attended,
    "_scaled_dot_product_flash_attention": _attended,
    "_scaled_dot_product_efficient_attention": _attended,
    "_scaled_dot_product_cudnn_attention": _attended,
}
# Words in the names of operations that multiply and add. Without a rule they are refused, so that none is left out.
MULTIPLYING = """
    mm bmm mv matmul addmm addmv addr ger outer baddbmm addbmm dot vdot rnn linear lstm gru attention bilinear
    trilinear solve transformer cdist fft tbc bag
"""
WORDS = frozenset(MULTIPLYING.split())
LIBRARIES = ("aten", "prim", "autost_optuna", "sj", "spikingjelly")  # whose operations are known
POINTWISE = {"_thnn_fused_lstm_cell", "_thnn_fused_gru_cell"}  # what follows the products of a recurrent cell


def multiplies(name: str) -> bool:
    """Whether an operation of torch multiplies and adds, by its name."""
    if name in POINTWISE or name.startswith(("upsample", "_upsample")):
        return False
    words = name.split("_")
    begins = ("conv", "linalg", "slow", "cudnn", "mkldnn", "miopen")
    return any(word in WORDS or (word.startswith(begins) and not word.startswith("convert")) for word in words)


# The output of these operations holds the spikes of their inputs, their sums, or those where both inputs fire. Zeros that come
# from any other operation do not mean that a neuron is silent.
HANDED_ON = """
    alias detach lift_fresh clone copy _to_copy view _unsafe_view view_as _reshape_alias reshape t transpose permute
    movedim expand repeat squeeze unsqueeze flip roll slice select unbind split split_with_sizes as_strided index
    index_select gather unfold cat stack constant_pad_nd slice_scatter select_scatter index_put _unsafe_index
    masked_fill add sum cumsum mul maximum minimum max amax logical_and logical_or bitwise_and max_pool1d max_pool2d
    max_pool2d_with_indices max_pool3d_with_indices adaptive_max_pool2d where
"""
PASSING = frozenset(HANDED_ON.split())
DISCRETE = frozenset({"gt", "ge", "lt", "le", "heaviside", "sign", "round", "floor", "ceil", "trunc", "bernoulli"})
UNCHARGED = {  # what conventions leave out, by what operations of torch are called
    "normalisation": ("batch_norm", "layer_norm", "group_norm", "instance_norm"),
    "pooling": ("pool",),
    "additions": ("add", "sub"),
    "multiplications": ("mul", "div"),
}


class Known(NamedTuple):
    """What is known about an operation of torch: its name, and the names of its arguments.

    `composite` ones consist of others; `refused` are products without a rule; `makes` new values that depend on no tensor;
    `writes` are the places of arguments that it changes; `uncharged` is what conventions leave out of it, or "". Spikes that
    enter it leave it if it `passes` them on, as sums if it `adds` them. `discrete` ones make whole numbers of real values.
    """

    name: str
    names: tuple[str, ...]
    composite: bool
    refused: bool
    makes: bool
    writes: tuple[int, ...]
    uncharged: str
    passes: bool
    adds: bool
    discrete: bool


@cache
def known_of(func: Any) -> Known:
    """What is known about an operation."""
    space, _, name = func._schema.name.partition("::")
    name = name if space == "aten" else f"{space}.{name}"
    plain = name[:-1] if name.endswith("_") and not name.endswith("__") else name
    ruled = plain in RULES
    composite = not ruled and torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd")
    arguments = func._schema.arguments
    return Known(
        plain if ruled else name,
        tuple(argument.name for argument in arguments),
        composite,
        not ruled and (not space.startswith(LIBRARIES) or multiplies(plain)),
        name.startswith("new_") or name.endswith("_like") or name in ("empty_strided", "lift_fresh"),
        tuple(place for place, one in enumerate(arguments) if one.alias_info is not None and one.alias_info.is_write),
        "" if ruled else next((what for what, words in UNCHARGED.items() if any(word in name for word in words)), ""),
        plain in PASSING,
        plain in ("add", "sum", "cumsum"),
        plain in DISCRETE,
    )
