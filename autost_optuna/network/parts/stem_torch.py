"""AutoST's stem, computed: images to tokens.

Shapes: T time steps, B images, C channels (the width), H W pixels, N tokens.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autost_optuna.network.layers import convolution, draw_layers
from autost_optuna.network.neurons.module import NeuronModule
from autost_optuna.network.parts.stem import AutoSTStem
from autost_optuna.network.place import Place
from autost_optuna.network.weights import fresh, stream


class AutoSTStemModule(nn.Module):
    """Four convolutions, the first three followed by neurons, plus a position convolution.

    The fourth convolution has no neuron: the position convolution reads real values, and the sum is the residual stream.
    """

    def __init__(self, part: AutoSTStem, at: Place) -> None:
        super().__init__()
        self.part, self.at = part, at
        self.time_steps = at.steps
        self.pooling = tuple(flag == "1" for flag in part.pooling)
        eighth, quarter, half = part.width // 8, part.width // 4, part.width // 2
        self.conv1 = convolution(at.width, eighth)
        self.bn1 = nn.BatchNorm2d(eighth)
        self.neuron1 = at.neuron.module()
        self.conv2 = convolution(eighth, quarter)
        self.bn2 = nn.BatchNorm2d(quarter)
        self.neuron2 = at.neuron.module()
        self.conv3 = convolution(quarter, half)
        self.bn3 = nn.BatchNorm2d(half)
        self.neuron3 = at.neuron.module()
        self.conv4 = convolution(half, part.width)
        self.bn4 = nn.BatchNorm2d(part.width)
        self.position = convolution(part.width, part.width)
        self.position_bn = nn.BatchNorm2d(part.width)

    def forward(self, images: Tensor) -> Tensor:
        """[B, c, H, W] to [T, B, N, C]; the image is shown at each of the T steps, without a spike encoder.

        For an events task, [B, T, c, H, W] to [T, B, N, C]: each step reads its own frame.
        """
        x = self.pool(0, self._fire(self.neuron1, self.currents(images)))
        x = self.pool(1, self._fire(self.neuron2, self.bn2(self.conv2(x))))
        x = self.pool(2, self._fire(self.neuron3, self.bn3(self.conv3(x))))
        x = self.pool(3, self.bn4(self.conv4(x)))
        x = x + self.position_bn(self.position(x))
        return self._steps(x.flatten(2).transpose(1, 2)).contiguous()

    def currents(self, images: Tensor) -> Tensor:
        """Images, or recordings, to the currents [T*B, C/8, H, W] of the first neurons."""
        frames = images.repeat(self.time_steps, 1, 1, 1) if self.at.still else images.transpose(0, 1).flatten(0, 1)
        return self.bn1(self.conv1(frames))  # type: ignore[no-any-return]

    def pool(self, stage: int, x: Tensor) -> Tensor:
        """[T*B, C, H, W] to the same shape, or to half of H and W if the stem pools after this convolution."""
        return F.max_pool2d(x, 3, stride=2, padding=1) if self.pooling[stage] else x

    def _fire(self, neuron: NeuronModule, x: Tensor) -> Tensor:
        """[T*B, ...] currents to [T*B, ...] spikes."""
        spikes: Tensor = neuron(self._steps(x)).flatten(0, 1)
        return spikes

    def _steps(self, x: Tensor) -> Tensor:
        """[T*B, ...] to [T, B, ...]."""
        return x.view(self.time_steps, -1, *x.shape[1:])

    def initialise(self, seed: int) -> None:
        """Convolutions as torch does by default: Kaiming uniform with a = sqrt(5)."""
        draw_layers(fresh(self), stream(seed, *self.part.weights(self.at)))

    def follow_paths(self) -> None:
        """For SynFlow: one step."""
        self.time_steps = 1

    @property
    def short(self) -> type[nn.Module]:
        """The form that is faster while gradients are recorded."""
        return ShortAutoSTStem

    def pack(self) -> None:
        """Take the form for inference, whose spikes are bytes."""
        from autost_optuna.network.packed import as_bytes, pack_layers

        self.__class__ = PackedAutoSTStem
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        as_bytes(self.neuron1, self.neuron2, self.neuron3)
        pack_layers(self, conv2="bn2", conv3="bn3", conv4="bn4")


class ShortAutoSTStem(AutoSTStemModule):
    """The first convolution processes a still image once: T equal images have equal currents and statistics."""

    def currents(self, images: Tensor) -> Tensor:
        """[B, c, H, W] to [T*B, C/8, H, W]."""
        if self.training and torch.is_grad_enabled() and self.at.still:
            return torch.cat([self.bn1(self.conv1(images))] * self.time_steps)
        return super().currents(images)


class PackedAutoSTStem(AutoSTStemModule):
    """A stem whose spikes are bytes."""

    def pool(self, stage: int, x: Tensor) -> Tensor:
        """As in the stem itself, for bytes, which torch's own pooling does not accept."""
        if x.dtype == torch.uint8 and self.pooling[stage]:
            return torch.ops.quantized.max_pool2d(x, [3, 3], [2, 2], [1, 1], [1, 1], False)  # type: ignore[no-any-return]
        return super().pool(stage, x)
