"""The arithmetic of leaky integrate-and-fire neurons with a hard reset: steps, spikes and surrogate gradients.

h[t] = v[t-1] + (x[t] - v[t-1]) d     charge, d = 1 / tau
s[t] = 1 if h[t] >= threshold else 0  fire
v[t] = 0 if s[t] else h[t]            hard reset; v[0] = 0

The equation stands twice: `plain_step` reads like it, and is what compilers and exporters see; `fast_step` writes in place.
Both give the spikes of SpikingJelly's parametric LIF bit for bit.
"""

import functools
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

ALPHA = 4.0  # steepness of the surrogate derivative

# How many neurons take all their steps before the next piece does, so that each step finds the last one's values in the
# cache. The fastest of 2^13 to 2^24: on smaller pieces cores wait for each other at every call, long if they are busy, and
# larger pieces do not fit into the cache.
CHUNK = 1 << 20
CACHED = 1 << 16  # for a core that works alone: what a step reads and writes fits into its cache of 1 or 2 MB


def plain_step(x: Any, decay: Any, threshold: float, before: Any = None, where: Any = torch.where) -> tuple[Any, Any]:
    """x[t] to h[t] and s[t], a bool; `before` is h[t-1] and s[t-1], None at rest.

    Values of an ONNX graph can stand for tensors, with that graph's `where`.
    """
    if before is None:
        h = x * decay
    else:
        last, fired = before
        v = where(fired, 0.0, last)
        h = v + (x - v) * decay
    return h, h >= threshold


def fast_step(x: Tensor, decay: Tensor, threshold: float, before: Tensor | None, u: Tensor, room: list[Tensor]) -> None:
    """Write u[t] into `u` from x[t] and u[t-1], `before`, which may be the same memory.

    It tracks u = -h, because torch's threshold function then resets all neurons that fire (u <= -threshold) in one pass.
    `room` is memory for -v[t-1], which may be that of `u`, and for a product.
    """
    if before is None:
        torch.mul(x.to(u.dtype), -decay, out=u)
        return
    v, product = room
    torch.threshold(before, -threshold, 0.0, out=v)
    torch.add(x, v, out=product).mul_(decay)
    torch.sub(v, product, out=u)


def spikes(x: Tensor, decay: Tensor, threshold: float, *, as_bytes: bool = False) -> Tensor:
    """The spikes [T, ...] of currents `x` [T, ...] from v = 0, with the type of `x`, or uint8 if `as_bytes`."""
    if torch.compiler.is_exporting():
        fired = torch.stack(unrolled(x.unbind(), decay, threshold)[1]).to(x.dtype)
        return fired.clone(memory_format=torch.contiguous_format)  # other strides depend on how large a batch is
    if not as_bytes:
        out = torch.empty_like(x)
        _charge(x, decay, threshold, out)
        return out
    strides = _strides(x)
    currents = _flat(x, strides)
    out = torch.empty_like(currents, dtype=torch.int8)
    for piece in _pieces(currents, CACHED):
        _charge(currents[:, piece], decay, threshold, out[:, piece])
    return out.view(torch.uint8).as_strided(x.shape, strides)


def unrolled(
    currents: Iterable[Any], decay: Any, threshold: float, where: Any = torch.where
) -> tuple[list[Any], list[Any]]:
    """All h and all s, by plain steps."""
    potentials, fired, now = [], [], None
    for x in currents:
        now = plain_step(x, decay, threshold, now, where)
        potentials.append(now[0])
        fired.append(now[1])
    return potentials, fired


def distance(currents: Tensor, given: Tensor, decay: Tensor, threshold: float) -> float:
    """How far from the threshold potentials are, at most, where `given` spikes do not follow from `currents`, both [T, ...].

    Each step starts from the given spikes before it. At most 0 if all spikes follow.
    """
    found, before = [], None
    for x, fired in zip(currents, given > 0, strict=True):
        h, _ = plain_step(x, decay, threshold, before)
        found.append(torch.where(fired, threshold - h, h - threshold).max().item())
        before = h, fired
    return max(found)


def fire(x: Tensor, decay: Tensor, threshold: float, *, learned: Tensor | None = None, fused: bool = False) -> Tensor:
    """`spikes` with gradients of `x`, and of `learned` if that is not None: the number whose sigmoid is `decay`.

    It computes in float32, or in float64 if x is float64; spikes have the type of x. torch.compile makes it if `fused`.
    """
    apply: Any = _Fire.apply
    fired: Tensor = apply(x, learned, decay.detach(), threshold, fused)
    return fired


class _Fire(torch.autograd.Function):
    """Spikes [T, ...] of currents `x` [T, ...] from v = 0, and their surrogate gradients, one piece of the neurons at a time.

    Forward is `spikes`, but keeps h. Backward: g is the gradient of the spikes, v is detached from the spike that
    resets it, and p is the part of the next step's gradient that comes through v (0 where the neuron fired):

        gh[t] = ALPHA y (1 - y) g[t] + (1 - d) p[t]     y = sigmoid(ALPHA (h[t] - threshold)),  p[t] = gh[t+1] (1 - s[t])
        gx[t] = d gh[t]
        gd    = sum (x[t] - v[t-1]) gh[t] = sum (h[t] - v[t-1]) gh[t] / d = sum h[t] (gh[t] - p[t]) / d
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, learned: Tensor | None, decay: Tensor, threshold: float, fused: bool) -> Tensor:
        """x [T, ...] to spikes [T, ...]."""
        strides = _strides(x)
        currents = _flat(x, strides)
        if fused:
            out, kept = _compiled(_charge_all)(currents, decay, threshold)
        else:
            out, kept = torch.empty_like(currents), torch.empty_like(currents, dtype=decay.dtype)
            for piece in _pieces(currents, CHUNK):
                _charge(currents[:, piece], decay, threshold, out[:, piece], kept[:, piece])
        ctx.save_for_backward(kept, decay)
        ctx.threshold, ctx.strides, ctx.fused = threshold, strides, fused
        ctx.dtype = None if learned is None else learned.dtype
        fired: Tensor = out.as_strided(x.shape, strides)
        return fired

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor | None, None, None, None]:
        """Gradients [T, ...] of the spikes to those of x and of the learned number."""
        kept, decay = ctx.saved_tensors
        back = _compiled(_back_all) if ctx.fused else _back
        out, total = back(kept, _flat(grads[0], ctx.strides), decay, ctx.threshold)
        # d sigmoid(w) / dw = d (1 - d)
        slope: Tensor | None = None if ctx.dtype is None else (total * (decay - 1)).to(ctx.dtype)
        return out.as_strided(grads[0].shape, ctx.strides), slope, None, None, None


def _charge(currents: Tensor, decay: Tensor, threshold: float, out: Tensor, kept: Tensor | None = None) -> None:
    """Write the spikes of currents [T, ...] into `out`, and u = -h into `kept`, of the same shape, by fast steps."""
    xs = currents.unbind()
    room = [torch.empty_like(xs[0], dtype=decay.dtype) for _ in range(2)]
    us = room[:1] * len(xs) if kept is None else kept.unbind()
    before = None
    for x, u, fired in zip(xs, us, out.unbind(), strict=True):
        fast_step(x, decay, threshold, before, u, room)
        if out.dtype == torch.int8:  # torch compares into floats and converts them faster than it compares into bytes
            fired.copy_(torch.le(u, -threshold, out=room[1]))
        else:
            torch.le(u, -threshold, out=fired)
        before = u


def _back(u: Tensor, upstream: Tensor, decay: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """Gradients of the currents [T, neurons] from those of the spikes, and sum u (gh - p).

    They are in units of ALPHA until they are written.
    """
    d = float(decay)
    out = torch.empty_like(upstream)
    sums = []
    for piece in _pieces(u, CHUNK):
        slope, grad, carried = (torch.empty_like(u[0, piece]) for _ in range(3))
        for t in reversed(range(len(u))):
            now = u[t, piece]
            torch.add(now, threshold, out=slope).mul_(ALPHA).sigmoid_()
            if t < len(u) - 1:
                torch.ops.aten.threshold_backward.grad_input(grad, now, -threshold, grad_input=carried)
                torch.ops.aten.sigmoid_backward.grad_input(upstream[t, piece].to(u.dtype), slope, grad_input=grad)
                grad.add_(carried, alpha=1 - d)
                sums.append(torch.dot(now, torch.sub(grad, carried, out=slope)))
            else:
                torch.ops.aten.sigmoid_backward.grad_input(upstream[t, piece].to(u.dtype), slope, grad_input=grad)
                sums.append(torch.dot(now, grad))
            torch.mul(grad, ALPHA * d, out=out[t, piece])
    return out, torch.stack(sums).sum(dtype=torch.float64) * ALPHA


def _charge_all(currents: Tensor, decay: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """Spikes and h, both [T, neurons], by plain steps, which torch.compile turns into one loop."""
    # Each step converts its own values: converting all of them before or after would be another loop, which is slow.
    potentials, fired = unrolled([x.to(decay.dtype) for x in currents], decay, threshold)
    return torch.stack([s.to(currents.dtype) for s in fired]), torch.stack(potentials)


def _back_all(potentials: Tensor, upstream: Tensor, decay: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """`_back` of h = -u, in a form that torch.compile turns into one loop."""
    out = []
    total = grad = torch.zeros_like(potentials[0])
    for h, g in zip(reversed(potentials.unbind()), reversed(upstream.unbind()), strict=True):
        y = torch.sigmoid(ALPHA * (h - threshold))
        carried = torch.where(h >= threshold, 0.0, grad)
        grad = ALPHA * y * (1 - y) * g + (1 - decay) * carried
        total = total - h * (grad - carried)
        out.append((decay * grad).to(upstream.dtype))
    return torch.stack(out[::-1]), total.sum(dtype=torch.float64)


@functools.cache
def _compiled(function: Any) -> Any:
    """One compilation for layers of all sizes."""
    return torch.compile(function, dynamic=True)


def _strides(x: Tensor) -> tuple[int, ...]:
    """The strides of a tensor like `x` [T, ...] in which time comes first in memory."""
    return x[0].numel(), *torch.empty_like(x[0]).stride()


def _flat(x: Tensor, strides: tuple[int, ...]) -> Tensor:
    """x [T, ...] as [T, neurons], neurons in memory order; a copy if its strides are not `strides`."""
    if x.stride() != strides:
        x = torch.empty_strided(x.shape, strides, dtype=x.dtype).copy_(x)
    return x.as_strided((len(x), strides[0]), (strides[0], 1))


def _pieces(flat: Tensor, size: int) -> list[slice]:
    return [slice(start, start + size) for start in range(0, flat.shape[1], size)]
