"""The parametric LIF neuron (Fang et al., ICCV 2021, arXiv 2007.05785) with AutoST's settings.

h[t] = v[t-1] + (x[t] - v[t-1]) * sigmoid(w)      charge, sigmoid(w) = 1 / tau, one learnable w a layer, tau 2 at start
s[t] = 1 if h[t] >= threshold else 0              fire
v[t] = 0 if s[t] else h[t]                        hard reset; v[0] = 0
"""

import torch
from spikingjelly.activation_based import functional, surrogate
from spikingjelly.activation_based.neuron import ParametricLIFNode
from torch import Tensor, nn


class PLIF(ParametricLIFNode):  # type: ignore[misc]
    """[T, ...] currents to [T, ...] spikes of 0 and 1.

    Where no gradient is asked for the same trajectory is computed without the tensors that a backward
    pass would need: bit for bit SpikingJelly's spikes, several times faster, and no state is left behind.
    """

    def __init__(self, v_threshold: float = 1.0) -> None:
        super().__init__(
            init_tau=2.0,
            decay_input=True,
            v_threshold=v_threshold,
            v_reset=0.0,
            surrogate_function=surrogate.Sigmoid(alpha=4.0),
            detach_reset=True,
            step_mode="m",
        )

    def multi_step_forward(self, x_seq: Tensor, *args: Tensor, **kwargs: object) -> Tensor:
        """x_seq [T, ...] to spikes [T, ...]."""
        plain = not torch.is_grad_enabled() and x_seq.dtype == torch.float32
        if plain and not isinstance(self.v, Tensor):
            return spikes(x_seq, self.w.sigmoid(), self.v_threshold)
        out: Tensor = super().multi_step_forward(x_seq, *args, **kwargs)
        return out


def spikes(x: Tensor, decay: Tensor, threshold: float) -> Tensor:
    """The neuron's spikes [T, ...] for currents `x` [T, ...] from v = 0, with `decay` = 1 / tau.

    It follows u = -v, since `threshold_` can then reset all neurons that fire (u <= -threshold) in one pass in place.
    """
    out = torch.empty_like(x)
    u = torch.mul(x[0], -decay)
    for t in range(x.shape[0]):
        if t:
            u -= torch.add(x[t], u).mul_(decay)
        torch.le(u, -threshold, out=out[t])
        torch.threshold_(u, -threshold, 0.0)
    return out


def reset(module: nn.Module) -> None:
    """Put every neuron of `module` back to v = 0."""
    functional.reset_net(module)
