"""Embeddings of the published families, computed.

Shapes: T time steps, B images, C channels, H W pixels, N tokens.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from autost_optuna.network.layers import SpikeConv, draw_layers
from autost_optuna.network.parts.embedding import Embedding
from autost_optuna.network.place import Place
from autost_optuna.network.weights import fresh, stream


def pool(x: Tensor) -> Tensor:
    """[B, C, H, W] to the maxima over 3x3 pixels, at half of H and W."""
    return F.max_pool2d(x, 3, stride=2, padding=1)


class EmbeddingModule(nn.Module):
    """Convolutions, each with normalisation, neurons between them, and a shortcut.

    The normalisation of `conv1` is `conv1_bn`. `neuron1` stands behind it, `neuron` before it where the part reads currents.
    """

    def __init__(self, part: Embedding, at: Place) -> None:
        super().__init__()
        self.part, self.at = part, at
        self.time_steps = at.steps
        before = ["" if bare else f"neuron{n or ''}" for n, (*_, bare) in enumerate(part.convolutions)]
        if at.spiking or at.stage == "stem":
            before[0] = ""
        self.before = [*before, f"neuron{len(before)}" if at.spiking else ""]
        reads, read = [], at.width
        for (name, width, kernel, stride, groups, _, _), neuron in zip(part.convolutions, before, strict=True):
            if neuron:
                self.add_module(neuron, at.neuron.module())
            reads.append(read)
            self._add(name, read, width, kernel, stride, groups)
            read = width
        if at.spiking:
            self.add_module(self.before[-1], at.neuron.module())
        if part.shortcut is not None:
            tap, convolution, own = part.shortcut
            if convolution is not None:
                name, width, kernel, stride, groups, _, _ = convolution
                self._add(name, reads[tap], width, kernel, stride, groups)
                if own or at.spiking:
                    self.shortcut_neuron = at.neuron.module()

    def _add(self, name: str, read: int, width: int, kernel: int, stride: int, groups: int) -> None:
        made = SpikeConv(read, width, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.add_module(name, made)
        self.add_module(f"{name}_bn", nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        """Images [B, c, H, W], recordings [B, T, c, H, W], or tokens [T, B, N, C], to tokens [T, B, N, C]."""
        x = self.frames(x) if self.at.stage == "stem" else self.grid(x)
        currents, spikes = [], []
        pools = ["", *(behind for *_, behind, _ in self.part.convolutions)]
        for (name, *_, behind, _), neuron, pooled in zip(self.part.convolutions, self.before, pools, strict=False):
            currents.append(x)
            x = self.fire(neuron, x, pooled == "spikes")
            spikes.append(x)
            x = self.convolve(name, x, behind == "currents")
        x = self.fire(self.before[-1], x, pools[-1] == "spikes")
        if self.part.shortcut is not None:
            x = x + self.shorten(currents, spikes)
        return self.steps(x.flatten(2).transpose(1, 2)).contiguous()

    def shorten(self, currents: list[Tensor], spikes: list[Tensor]) -> Tensor:
        """The shortcut's output, from what the neurons before each convolution, and each convolution, read."""
        assert self.part.shortcut is not None
        tap, convolution, own = self.part.shortcut
        if convolution is None:
            return (spikes if self.at.spiking else currents)[tap]
        name, *_, behind, _ = convolution
        if self.at.spiking:
            return self.fire("shortcut_neuron", self.convolve(name, spikes[tap], behind == "currents"), False)
        x = self.fire("shortcut_neuron", currents[tap], False) if own else spikes[tap]
        return self.convolve(name, x, behind == "currents")

    def frames(self, images: Tensor) -> Tensor:
        """Images, which every step reads, or recordings, whose frames they read, to [T*B, c, H, W]."""
        return images.repeat(self.time_steps, 1, 1, 1) if self.at.still else images.transpose(0, 1).flatten(0, 1)

    def grid(self, x: Tensor) -> Tensor:
        """[T, B, N, C] to [T*B, C, H, W]."""
        return x.flatten(0, 1).transpose(1, 2).unflatten(2, (self.at.side, self.at.side))  # type: ignore[no-any-return]

    def steps(self, x: Tensor) -> Tensor:
        """[T*B, ...] to [T, B, ...]."""
        return x.unflatten(0, (self.time_steps, -1))  # type: ignore[no-any-return]

    def fire(self, neuron: str, x: Tensor, pooled: bool) -> Tensor:
        """[T*B, ...] currents to spikes, pooled or not; the same where no neurons stand."""
        if neuron:
            fired: Tensor = self.get_submodule(neuron)(self.steps(x))
            x = fired.flatten(0, 1)
        return pool(x) if pooled else x

    def convolve(self, name: str, x: Tensor, pooled: bool) -> Tensor:
        """[T*B, C, H, W] to normalised currents, pooled or not."""
        currents: Tensor = self.get_submodule(f"{name}_bn")(self.get_submodule(name)(x))
        return pool(currents) if pooled else currents

    def initialise(self, seed: int) -> None:
        """Kaiming uniform with a = sqrt(5), as torch does by default, on a grid."""
        draw_layers(fresh(self), stream(seed, *self.part.weights(self.at)))

    def follow_paths(self) -> None:
        """For SynFlow: one step."""
        self.time_steps = 1
