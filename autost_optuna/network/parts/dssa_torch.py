"""Dual spike self-attention, computed.

Shapes: T time steps, B images, C channels (the width), N tokens, M patches, h heads, d = C / h.
"""

from torch import Tensor, nn

from autost_optuna.network.layers import (
    ChannelNorm,
    CubeRoot,
    First,
    Product,
    RateNorm,
    SpikeConv,
    SpikeLinear,
    draw_layers,
    entry,
    exit_of,
)
from autost_optuna.network.parts.dssa import DSSA
from autost_optuna.network.place import Place
from autost_optuna.network.weights import fresh, stream


class DSSAModule(nn.Module):
    """y1, y2 = normalised patches; spikes of y1^T x, scaled, choose what is summed of y2, scaled, which drives neurons."""

    def __init__(self, part: DSSA, at: Place) -> None:
        super().__init__()
        self.part, self.at = part, at
        self.neuron = entry(at)
        self.patches = SpikeConv(at.width, 2 * at.width, part.patch, part.patch, bias=False)
        self.patches_bn = nn.BatchNorm2d(2 * at.width)
        self.scores = Product(driver=1)
        self.scores_norm = RateNorm(part.num_heads)
        self.scores_neuron = at.neuron.module()
        self.sums = Product(driver=1)
        self.sums_norm = RateNorm(part.num_heads)
        self.out_neuron = at.neuron.module()
        self.proj = SpikeLinear(at.width, at.width, bias="proj" in at.biases)
        self.proj_bn = ChannelNorm(at.width)
        self.proj_neuron = exit_of(at)

    def forward(self, x: Tensor) -> Tensor:
        """[T, B, N, C] to [T, B, N, C]."""
        s = self.neuron(x)
        grid = s.flatten(0, 1).transpose(1, 2).unflatten(2, (self.at.side, self.at.side))
        y = self.patches_bn(self.patches(grid)).flatten(2).unflatten(0, x.shape[:2])
        y1, y2 = y.unflatten(2, (self.part.num_heads, -1)).chunk(2, 3)  # [T, B, h, d, M]
        s = s.transpose(2, 3).unflatten(2, (self.part.num_heads, -1))  # [T, B, h, d, N]
        scores = self.scores_norm(self.scores(y1.transpose(3, 4), s), s, s.shape[3])
        scores = self.scores_neuron(scores)  # [T, B, h, M, N]
        out = self.sums_norm(self.sums(y2, scores), scores, scores.shape[3])
        out = self.out_neuron(out.flatten(2, 3).transpose(2, 3))
        return self.proj_neuron(self.proj_bn(self.proj(out)))  # type: ignore[no-any-return]

    def initialise(self, seed: int) -> None:
        """Both layers from one random stream."""
        draw_layers(fresh(self), stream(seed, *self.part.weights(self.at)))

    def follow_paths(self) -> None:
        """For SynFlow: the cube root of y1, x and y2, which are multiplied, and no scaling."""
        self.set_submodule("scores_norm", First())
        self.set_submodule("sums_norm", First())
        self.set_submodule("out_neuron", CubeRoot())
