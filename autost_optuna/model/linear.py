"""A linear layer that is read from spikes.

In general it is torch's. Where only the figures of a forward pass are wanted, `prefer_speed` makes it compute them as
neuromorphic hardware does: a spike adds the weights of its synapses, and what does not fire costs nothing.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Above this share of spikes the dense product is the faster one.
SPARSE = 0.08


class SpikeLinear(nn.Linear):
    """[..., C] spikes to [..., D]; after `prefer_speed` without gradients, equal up to the rounding of other sums."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.synapses: Tensor | None = None
        self.fast = False

    def prefer_speed(self, *, sparse: bool) -> None:
        """From now on compute the CPU's fast way, by events where `sparse`."""
        self.fast = True
        if sparse:
            self.synapses = self.weight.detach().t().contiguous()  # a row holds the weights that one spike adds
            self.weight.data = self.synapses.t()  # the same memory

    def forward(self, input: Tensor) -> Tensor:
        """[..., C] to [..., D]."""
        if not self.fast:
            return super().forward(input)
        spikes = input.flatten(0, -2)
        out = self._by_events(spikes) if self.synapses is not None else None
        if out is None:
            out = _dense(spikes, self.weight, self.bias)
        return out.view(*input.shape[:-1], -1)

    def _by_events(self, spikes: Tensor) -> Tensor | None:
        """[M, C] to [M, D] by adding rows of synapses; None where there are too many spikes for it to pay."""
        assert self.synapses is not None
        per_row = spikes.sum(1)
        if float(per_row.sum()) > SPARSE * spikes.numel():
            return None
        columns = spikes.nonzero()[:, 1].contiguous()
        ends = per_row.to(torch.int64).cumsum(0)
        return F.embedding_bag(columns, self.synapses, ends - per_row.to(torch.int64), mode="sum").add_(self.bias)


def _dense(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """x [M, C] times weight [D, C] plus bias, by oneDNN where torch has it: on some processors twice as fast as its BLAS."""
    if _ONEDNN is None:
        return F.linear(x, weight, bias)
    out: Tensor = _ONEDNN(x, weight, bias, "none", [], "")
    return out


_ONEDNN = getattr(torch.ops.mkldnn, "_linear_pointwise", None) if torch.backends.mkldnn.is_available() else None
