"""The parametric LIF neuron (Fang et al., ICCV 2021, arXiv 2007.05785) with AutoST's settings.

h[t] = v[t-1] + (x[t] - v[t-1]) * sigmoid(w)      charge, sigmoid(w) = 1 / tau, one learnable w per layer, tau 2 at start
s[t] = 1 if h[t] >= threshold else 0              fire
v[t] = 0 if s[t] else h[t]                        hard reset; v[0] = 0
"""

import functools
from typing import Any

import torch
from spikingjelly.activation_based import functional, surrogate
from spikingjelly.activation_based.neuron import ParametricLIFNode
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

ALPHA = 4.0  # steepness of the surrogate derivative

# How many neurons take all their steps before the next piece does, so that each step finds the last one's values in the
# cache. The fastest of 2^13 to 2^24: on smaller pieces cores wait for each other at every call, long if they are busy, and
# larger pieces do not fit into the cache.
CHUNK = 1 << 20
CACHED = 1 << 16  # for a core that works alone: what a step reads and writes fits into its cache of 1 or 2 MB


class PLIF(ParametricLIFNode):  # type: ignore[misc]
    """[T, ...] currents to [T, ...] spikes of 0 and 1.

    A neuron at rest takes a path that is several times faster and gives SpikingJelly's spikes bit for bit: without gradients
    it skips the tensors of a backward pass; with gradients, on the CPU, it uses `_Fire`, which torch.compile fuses if `fused`.
    This path leaves no state behind. SpikingJelly, which has kernels for GPUs, computes all other cases.
    """

    def __init__(self, v_threshold: float = 1.0) -> None:
        super().__init__(
            init_tau=2.0,
            decay_input=True,
            v_threshold=v_threshold,
            v_reset=0.0,
            surrogate_function=surrogate.Sigmoid(alpha=ALPHA),
            detach_reset=True,
            step_mode="m",
        )
        self.fused = False
        self.as_bytes = False  # without gradients: return spikes as uint8

    def multi_step_forward(self, x_seq: Tensor, *args: Tensor, **kwargs: object) -> Tensor:
        """x_seq [T, ...] to spikes [T, ...]."""
        if not isinstance(self.v, Tensor):  # at rest
            if not torch.is_grad_enabled():
                if x_seq.dtype == torch.float32:
                    fire = spikes_as_bytes if self.as_bytes else spikes
                    return fire(x_seq, self.w.sigmoid(), self.v_threshold)
            elif x_seq.device.type == "cpu":
                apply: Any = _Fire.apply
                if torch.compiler.is_compiling():  # for the code around it: the neuron is fused by itself
                    apply = torch.compiler.disable(apply)
                fired: Tensor = apply(x_seq, self.w, self.v_threshold, self.fused)
                return fired
        out: Tensor = super().multi_step_forward(x_seq, *args, **kwargs)
        return out


def spikes(x: Tensor, decay: Tensor, threshold: float) -> Tensor:
    """The neuron's spikes [T, ...] for currents `x` [T, ...] from v = 0, with `decay` = 1 / tau.

    It tracks u = -v, because `threshold_` can then reset all neurons that fire (u <= -threshold) in one pass in place.
    `_unrolled` does the same arithmetic in an exported graph.
    """
    if torch.compiler.is_exporting():
        return _unrolled(x, decay, threshold)
    out = torch.empty_like(x)
    u = torch.mul(x[0], -decay)
    for t in range(x.shape[0]):
        if t:
            u -= torch.add(x[t], u).mul_(decay)
        torch.le(u, -threshold, out=out[t])
        torch.threshold_(u, -threshold, 0.0)
    return out


def spikes_as_bytes(x: Tensor, decay: Tensor, threshold: float) -> Tensor:
    """The same spikes as uint8 with the strides of `x`, computed in pieces of neurons that stay in a core's cache."""
    strides = x[0].numel(), *torch.empty_like(x[0]).stride()
    currents = _flat(x, strides)
    # Compare into floats, then convert to int8: torch does both faster than it compares into bytes.
    out = torch.empty_like(currents, dtype=torch.int8)
    for piece in _pieces(currents.shape[1], CACHED):
        u, spent = _buffers(2, piece, x.dtype)
        for t in range(len(currents)):
            now = currents[t, piece]
            if t:
                u -= torch.add(now, u, out=spent).mul_(decay)
            else:
                torch.mul(now, -decay, out=u)
            out[t, piece].copy_(torch.le(u, -threshold, out=spent))
            torch.threshold_(u, -threshold, 0.0)
    return out.view(torch.uint8).as_strided(x.shape, strides)


def _unrolled(x: Tensor, decay: Tensor, threshold: float) -> Tensor:
    """`spikes` without writing in place; the exporter takes milliseconds for each operation."""
    first, *later = x.unbind()
    u = first * -decay
    fired = [u <= -threshold]
    for now in later:
        u = torch.where(fired[-1], 0.0, u)
        u = u - (now + u) * decay
        fired.append(u <= -threshold)
    return torch.stack(fired).to(x.dtype)


class _Fire(torch.autograd.Function):
    """Spikes [T, ...] of currents `x` [T, ...] from v = 0, and their surrogate gradients, one piece of the neurons at a time.

    Forward is as in `spikes`, but keeps u = -h. Backward: g is the gradient of the spikes, v is detached from the spike that
    resets it, and p is the part of the next step's gradient that comes through v (0 where the neuron fired):

        gh[t] = ALPHA y (1 - y) g[t] + (1 - d) p[t]     y = sigmoid(ALPHA (h[t] - threshold)),  p[t] = gh[t+1] (1 - s[t])
        gx[t] = d gh[t]
        gd    = sum (x[t] - v[t-1]) gh[t] = sum (h[t] - v[t-1]) gh[t] / d = sum h[t] (gh[t] - p[t]) / d

    It computes in float32, or in float64 if x is float64; spikes have the type of x.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, threshold: float, fused: bool) -> Tensor:
        """x [T, ...] to spikes [T, ...]."""
        strides = x[0].numel(), *torch.empty_like(x[0]).stride()
        decay = w.to(torch.promote_types(x.dtype, torch.float32)).sigmoid()
        charge = _compiled(_charge_all) if fused else _charge
        out, u = charge(_flat(x, strides), decay, threshold)
        ctx.save_for_backward(u, w)
        ctx.threshold, ctx.strides, ctx.fused = threshold, strides, fused
        return out.as_strided(x.shape, strides)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        """Gradients [T, ...] of the spikes to those of x and of w."""
        u, w = ctx.saved_tensors
        decay = w.to(u.dtype).sigmoid()
        back = _compiled(_back_all) if ctx.fused else _back
        out, total = back(u, _flat(grads[0], ctx.strides), decay, ctx.threshold)
        # d sigmoid(w) / dw = d (1 - d)
        return out.as_strided(grads[0].shape, ctx.strides), (total * (decay - 1)).to(w.dtype), None, None


def _charge(currents: Tensor, decay: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """Spikes and u = -h, both [T, neurons], of currents [T, neurons]."""
    d = float(decay)
    u = torch.empty_like(currents, dtype=decay.dtype)
    out = torch.empty_like(currents)
    for piece in _pieces(currents.shape[1], CHUNK):
        charged, spent = _buffers(2, piece, decay.dtype)
        for t in range(len(currents)):
            now = u[t, piece]
            if t:
                torch.ops.aten.threshold.out(u[t - 1, piece], -threshold, 0.0, out=charged)
                torch.add(currents[t, piece], charged, out=spent).mul_(d)
                torch.sub(charged, spent, out=now)
            else:
                torch.mul(currents[t, piece].to(decay.dtype), -d, out=now)
            torch.le(now, -threshold, out=out[t, piece])
    return out, u


def _back(u: Tensor, upstream: Tensor, decay: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """Gradients of the currents [T, neurons] from those of the spikes, and sum u (gh - p).

    They are in units of ALPHA until they are written.
    """
    d = float(decay)
    out = torch.empty_like(upstream)
    sums = []
    for piece in _pieces(u.shape[1], CHUNK):
        slope, grad, carried = _buffers(3, piece, u.dtype)
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
    """`_charge` in a form that torch.compile turns into one loop."""
    us, out = [], []
    u = torch.zeros_like(currents[0], dtype=decay.dtype)
    for now in currents:
        u = u - (now + u) * decay
        us.append(u)
        fired = u <= -threshold
        out.append(fired.to(currents.dtype))
        u = torch.where(fired, 0.0, u)
    return torch.stack(out), torch.stack(us)


def _back_all(u: Tensor, upstream: Tensor, decay: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """`_back` in a form that torch.compile turns into one loop."""
    out = []
    total = grad = torch.zeros_like(u[0])
    for now, g in zip(reversed(u.unbind()), reversed(upstream.unbind()), strict=True):
        y = torch.sigmoid(-ALPHA * (now + threshold))
        carried = torch.where(now <= -threshold, 0.0, grad)
        grad = ALPHA * y * (1 - y) * g + (1 - decay) * carried
        total = total + now * (grad - carried)
        out.append((decay * grad).to(upstream.dtype))
    return torch.stack(out[::-1]), total.sum(dtype=torch.float64)


@functools.cache
def _compiled(function: Any) -> Any:
    """One compilation for layers of all sizes."""
    return torch.compile(function, dynamic=True)


def _flat(x: Tensor, strides: tuple[int, ...]) -> Tensor:
    """x [T, ...] as [T, neurons], neurons in memory order; a copy if its strides are not `strides`."""
    if x.stride() != strides:
        x = torch.empty_strided(x.shape, strides, dtype=x.dtype).copy_(x)
    return x.as_strided((len(x), strides[0]), (strides[0], 1))


def _pieces(neurons: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, neurons)) for start in range(0, neurons, size)]


def _buffers(count: int, piece: slice, dtype: torch.dtype) -> tuple[Tensor, ...]:
    return torch.empty(count, piece.stop - piece.start, dtype=dtype).unbind()


def reset(module: nn.Module) -> None:
    """Put every neuron of `module` back to v = 0."""
    functional.reset_net(module)
