"""A depthwise convolution over the grid of tokens, computed."""

from torch import Tensor, nn

from autost_optuna.network.layers import SpikeConv, draw_layers, entry, exit_of
from autost_optuna.network.parts.depthwise import Depthwise
from autost_optuna.network.place import Place
from autost_optuna.network.weights import fresh, stream


class DepthwiseModule(nn.Module):
    """A neuron, the convolution, and normalisation."""

    def __init__(self, part: Depthwise, at: Place) -> None:
        super().__init__()
        self.part, self.at = part, at
        self.neuron = entry(at)
        bias = "conv" in at.biases
        self.conv = SpikeConv(at.width, at.width, part.kernel, padding=part.kernel // 2, groups=at.width, bias=bias)
        self.bn = nn.BatchNorm2d(at.width)
        self.out_neuron = exit_of(at)

    def forward(self, x: Tensor) -> Tensor:
        """[T, B, N, C] to [T, B, N, C]."""
        grid = self.neuron(x).flatten(0, 1).transpose(1, 2).unflatten(2, (self.at.side, self.at.side))
        out = self.bn(self.conv(grid)).flatten(2).transpose(1, 2)
        return self.out_neuron(out.unflatten(0, x.shape[:2]))  # type: ignore[no-any-return]

    def initialise(self, seed: int) -> None:
        """Kaiming uniform with a = sqrt(5), as torch does by default, on a grid."""
        draw_layers(fresh(self), stream(seed, *self.part.weights(self.at)))
