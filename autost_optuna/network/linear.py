"""A linear layer that is read from spikes.

At initialisation its weights are whole multiples of GRID, a twentieth of their deviation. Sums of such weights over spikes
are exact in float32 whatever their order, so that every way to compute them gives the same bits: torch's product, on a GPU
with reduced precision too, and products of 8-bit integers, which are several times faster on the CPU.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STD = 0.02
GRID = 2.0**-10
LARGEST = 127  # of GRID, 6.2 deviations


class SpikeLinear(nn.Linear):
    """[..., C] spikes to [..., D]."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self._packed: tuple[Tensor, Tensor, Tensor] | None = None

    def pack(self) -> int:
        """From now on compute with 8-bit integers, on the CPU and where this torch can; returns the bytes of the weights.

        For layers at initialisation that are not trained: the weights themselves are given up.
        """
        if _pack is None or _product is None or self.weight.device.type != "cpu":
            return self.weight.numel() * self.weight.element_size()
        scales = torch.full((self.out_features,), GRID)
        zeros = torch.zeros(self.out_features, dtype=torch.int64)
        self._packed = (_pack((self.weight.detach() / GRID).to(torch.int8), None), scales, zeros)
        self.weight = nn.Parameter(torch.empty(0), requires_grad=False)
        return self.in_features * self.out_features

    def forward(self, input: Tensor) -> Tensor:
        """[..., C] to [..., D]."""
        if self._packed is None or _product is None:
            if torch.is_grad_enabled() and input.device.type == "cpu" and torch.backends.mkldnn.is_available():
                return self._convolve(input)
            return super().forward(input)
        weight, scales, zeros = self._packed
        spikes = input.flatten(0, -2).to(torch.uint8)
        out: Tensor = _product(spikes, 1.0, 0, weight, scales, zeros, self.bias, 1.0, 0, torch.float32, "none", [], "")
        return out.view(*input.shape[:-1], -1)

    def _convolve(self, input: Tensor) -> Tensor:
        """The same as a convolution of 1x1, whose products and gradients oneDNN computes faster than those of a matrix."""
        rows = input.reshape(1, -1, 1, self.in_features).permute(0, 3, 1, 2)
        out = F.conv2d(rows, self.weight[:, :, None, None], self.bias)
        return out.permute(0, 2, 3, 1).reshape(*input.shape[:-1], self.out_features)


def draw_weights(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    """Weights [rows, columns] at initialisation: normal of deviation 0.02 on the grid.

    AutoST truncates at 2, a hundred deviations; here the grid ends at 6.2. More rows only append to the random stream
    as long as rows * columns is a multiple of 16, the width at which torch draws.
    """
    drawn = torch.empty(rows, columns).normal_(0.0, STD / GRID, generator=generator)
    return drawn.round_().clamp_(-LARGEST, LARGEST).mul_(GRID)


def _works() -> bool:
    """Whether torch's 8-bit product is there and gives exact sums; it is not on every processor."""
    if not torch.backends.mkldnn.is_available():
        return False
    try:
        layer = SpikeLinear(3, 2)
        with torch.no_grad():
            layer.weight.copy_(GRID * torch.tensor([[127.0, 1.0, -3.0], [-127.0, 0.0, 5.0]]))
            layer.bias.zero_()
            spikes = torch.tensor([[1.0, 1.0, 1.0], [0.0, 0.0, 1.0]])
            expected = layer(spikes)
            layer.pack()
            return torch.equal(layer(spikes), expected)
    except (RuntimeError, NotImplementedError, TypeError):
        return False


_pack = getattr(torch.ops.onednn, "qlinear_prepack", None)
_product = getattr(torch.ops.onednn, "qlinear_pointwise", None)
if _product is None or not _works():
    _pack = None
