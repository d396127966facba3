"""Prepare a network for inference on a CPU: the same network with faster sums over spikes.

At initialisation weights are whole multiples of `layers.GRID`, or of `layers.grid_of` a convolution, so one 8-bit digit holds
each of them exactly (`pack_grid`).
A trained network (`packed`) needs more. A spike is a byte. A layer that reads spikes absorbs the normalisation that follows
it. Each of its weights is rounded to a multiple of a step, 2^-23 of the largest weight of its channel, and written as three
8-bit digits. A sum over spikes is then three sums of products of 8-bit integers, each exact in any order. Only adding the
three rounds; the least is added first. Compared with sums in float64, the error is no larger than that of torch's float32
sums (tests/test_packed.py). The two errors differ, however, so a neuron whose potential equals its threshold to seven digits
may fire in one and not in the other.
"""

import copy
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn

from autost_optuna.network.layers import GRID, LARGEST, SpikeConv, SpikeLinear, grid_of
from autost_optuna.network.neurons.module import NeuronModule

DIGITS = 3
LARGEST_BYTE = 255
STEPS = 127 << 8 * (DIGITS - 1)  # the largest weight, in steps: its digits are 127, 0, 0

Norm = nn.modules.batchnorm._BatchNorm
Network = TypeVar("Network", bound=nn.Module)


def packed(network: Network) -> Network:
    """A copy of `network` in eval mode, for inference only; `network` itself if its device has no 8-bit products."""
    network.eval()
    if next(network.parameters()).device.type != "cpu" or not _works():
        return network
    network = copy.deepcopy(network)
    for module in list(network.modules()):
        pack: Callable[[], None] | None = getattr(module, "pack", None)
        if pack is not None:
            pack()
    return network


def digits(weight: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Weights [D, ...] as pairs of digits, int8 of that shape, and their worth per channel [D], the least digit first.

    The sum of digit times worth is the weight, to within half a step of its channel.
    """
    rows = weight.detach().flatten(1).double()
    step = rows.abs().amax(1).clamp_min(torch.finfo(torch.float32).tiny) / STEPS
    left = (rows / step[:, None]).round().long()
    found = []
    for place in range(DIGITS):
        digit = (left + 128) % 256 - 128
        left = (left - digit) // 256
        found.append((digit.to(torch.int8).view(weight.shape), step * 256.0**place))
    return found


class PackedConv(nn.Module):
    """A 3x3 convolution and its normalisation: spikes [B, C, H, W], one byte each, to float32 currents [B, D, H, W]."""

    def __init__(self, layer: nn.Conv2d, norm: Norm) -> None:
        super().__init__()
        prepack, one = torch.ops.onednn.qconv_prepack, [1, 1]
        self._terms = [
            (prepack(digit, worth, 1.0, 0, one, one, one, 1, None), worth, zeros, shift)
            for digit, worth, zeros, shift in _terms(layer, norm)
        ]

    def forward(self, spikes: Tensor) -> Tensor:
        """[B, C, H, W] to [B, D, H, W]."""
        spikes = spikes.contiguous(memory_format=torch.channels_last)
        product, one = torch.ops.onednn.qconv2d_pointwise, [1, 1]
        out: Tensor | None = None
        for term in self._terms:  # added here, because the product's own addition would copy its operand
            now = product(spikes, 1.0, 0, *term, one, one, one, 1, 1.0, 0, torch.float32, "none", [], None)
            out = now if out is None else now.add_(out)
        assert out is not None
        return out


class PackedLinear(nn.Module):
    """A linear layer and its normalisation: spikes [..., C], one byte each, to float32 currents [..., D]."""

    def __init__(self, layer: SpikeLinear, norm: Norm) -> None:
        super().__init__()
        prepack = torch.ops.onednn.qlinear_prepack
        self._terms = [(prepack(digit, None), *others) for digit, *others in _terms(layer, norm)]

    def forward(self, spikes: Tensor) -> Tensor:
        """[..., C] to [..., D]."""
        product, rows = torch.ops.onednn.qlinear_pointwise, spikes.flatten(0, -2)
        least, *others = self._terms
        out: Tensor = product(rows, 1.0, 0, *least, 1.0, 0, torch.float32, "none", [], "")
        for weight, worth, zeros, shift in others:
            taken = (rows, 1.0, 0, weight, worth, zeros, out, shift)
            out = product.binary(*taken, 1.0, 0, torch.float32, 1.0, 0, "sum", 1.0, "none", [], "")
        return out.view(*spikes.shape[:-1], -1)


class GridLinear(nn.Module):
    """A linear layer at initialisation: spikes [..., C] to [..., D]; each weight is one 8-bit digit."""

    def __init__(self, layer: SpikeLinear) -> None:
        super().__init__()
        self.bias = layer.bias
        self._weight = torch.ops.onednn.qlinear_prepack((layer.weight.detach() / GRID).to(torch.int8), None)
        self._scales = torch.full((layer.out_features,), GRID)
        self._zeros = torch.zeros(layer.out_features, dtype=torch.int64)

    def forward(self, input: Tensor) -> Tensor:
        """[..., C] to [..., D]."""
        spikes = input.flatten(0, -2).to(torch.uint8)
        packed_layer = self._weight, self._scales, self._zeros, self.bias
        product = torch.ops.onednn.qlinear_pointwise
        out: Tensor = product(spikes, 1.0, 0, *packed_layer, 1.0, 0, torch.float32, "none", [], "")
        return out.view(*input.shape[:-1], -1)


class GridConv(nn.Module):
    """A convolution at initialisation: spikes [B, C, H, W] to [B, D, H', W']; each weight is one 8-bit digit."""

    def __init__(self, layer: SpikeConv) -> None:
        super().__init__()
        self._where = list(layer.stride), list(layer.padding), [1, 1], layer.groups
        scales, zeros = torch.full((layer.out_channels,), grid_of(layer)), torch.zeros(layer.out_channels).long()
        digits = (layer.weight.detach() / grid_of(layer)).to(torch.int8)
        weight = torch.ops.onednn.qconv_prepack(digits, scales, 1.0, 0, *self._where, None)
        self._layer = weight, scales, zeros, layer.bias

    def forward(self, input: Tensor) -> Tensor:
        """[B, C, H, W] to [B, D, H', W'], in the order in memory that torch's convolution would give."""
        spikes = input.to(torch.uint8).contiguous(memory_format=torch.channels_last)
        product = torch.ops.onednn.qconv2d_pointwise
        out: Tensor = product(spikes, 1.0, 0, *self._layer, *self._where, 1.0, 0, torch.float32, "none", [], None)
        last = input.is_contiguous(memory_format=torch.channels_last) and not input.is_contiguous()
        return out if last else out.contiguous()


def pack_grid(part: nn.Module, driven: Mapping[str, int]) -> int:
    """Make the layers of `part`, at initialisation, compute with 8-bit integers, if on the CPU and this torch can.

    They are those `driven` by spikes, each with the largest number that drives it. Works in place and discards their float
    weights. Returns the bytes of the weights that remain.
    """
    held = 0
    for name, layer in list(part.named_modules()):
        if isinstance(layer, SpikeLinear | nn.Conv2d):
            weight = layer.weight
            largest = driven.get(name, LARGEST_BYTE + 1)
            bound = LARGEST if largest <= LARGEST else LARGEST_BYTE
            fits = weight.device.type == "cpu" and largest <= LARGEST_BYTE and _sums_exactly(bound)
            if fits and isinstance(layer, SpikeLinear):
                part.set_submodule(name, GridLinear(layer))
            elif fits and isinstance(layer, SpikeConv):
                part.set_submodule(name, GridConv(layer))
            else:
                held += weight.numel() * (weight.element_size() - 1)
            held += weight.numel()
    return held


def as_bytes(*neurons: nn.Module) -> None:
    """Let neurons that only packed layers read return their spikes as bytes."""
    for neuron in neurons:
        assert isinstance(neuron, NeuronModule)
        neuron.as_bytes = True


def pack_layers(part: nn.Module, **norms: str) -> None:
    """Replace each layer of `part`, given with the name of the normalisation that follows it, by a packed layer."""
    for name, norm in norms.items():
        layer, normalised = part.get_submodule(name), part.get_submodule(norm)
        assert isinstance(layer, nn.Conv2d | SpikeLinear)
        assert isinstance(normalised, Norm)
        made = PackedLinear(layer, normalised) if isinstance(layer, SpikeLinear) else PackedConv(layer, normalised)
        setattr(part, name, made)
        setattr(part, norm, nn.Identity())


def _terms(layer: nn.Conv2d | nn.Linear, norm: Norm) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor | None]]:
    """Digits of a layer and its normalisation in eval mode, least first, each with the arguments of its product.

    These are its worth, its zero point and, for the last digit, what to add."""
    assert norm.running_var is not None
    assert norm.running_mean is not None
    gain = norm.weight.detach().double() / (norm.running_var.double() + norm.eps).sqrt()
    shift = norm.bias.detach().double() - gain * norm.running_mean.double()
    if layer.bias is not None:
        shift = shift + gain * layer.bias.detach().double()
    weight = layer.weight.detach().double() * gain.view(-1, *[1] * (layer.weight.dim() - 1))
    zeros = torch.zeros(len(gain), dtype=torch.int64)
    for place, (digit, worth) in enumerate(digits(weight)):
        yield digit, worth.float(), zeros, shift.float() if place == DIGITS - 1 else None


@functools.cache
def _works() -> bool:
    """Whether this processor multiplies 8-bit integers in hardware, and this torch computes exact sums with it."""
    supported = getattr(torch.cpu, "_is_vnni_supported", None)
    if supported is None or not supported() or not torch.backends.mkldnn.is_available():
        return False
    try:
        spikes = torch.tensor([[1, 1, 1], [0, 0, 1]], dtype=torch.uint8)
        weight = torch.tensor([[127.0, 1.0, -3.0], [-127.0, 0.0, 5.0]])
        image = spikes.T.reshape(1, 3, 1, 2)
        with torch.inference_mode():
            layer, conv = SpikeLinear(3, 2), nn.Conv2d(3, 2, 3, padding=1, bias=False)
            layer.weight.copy_(weight)
            layer.bias.zero_()
            conv.weight.zero_()[:, :, 1, 1] = weight
            rows = PackedLinear(layer, nn.BatchNorm1d(2, eps=0.0).eval())(spikes)
            field = PackedConv(conv, nn.BatchNorm2d(2, eps=0.0).eval())(image)
            expected = spikes.float() @ weight.T
            torch.ops.quantized.max_pool2d(image, [3, 3], [2, 2], [1, 1], [1, 1], False)
            return torch.equal(rows, expected) and torch.equal(field, expected.T.reshape(1, 2, 1, 2))
    except (RuntimeError, NotImplementedError, TypeError, AttributeError):
        return False


@functools.cache
def _sums_exactly(largest: int) -> bool:
    """Whether this torch has 8-bit products with exact sums over numbers up to `largest`, however slow.

    Not every processor supports them, and some add pairs of products in 16 bits, which hold those of numbers up to 127.
    """
    if not torch.backends.mkldnn.is_available():
        return False
    try:
        with torch.inference_mode():
            layer, conv = SpikeLinear(3, 2), SpikeConv(3, 2, 1, bias=False)
            weight = torch.tensor([[127.0, 127.0, -3.0], [-127.0, 0.0, 5.0]])
            layer.weight.copy_(GRID * weight)
            layer.bias.zero_()
            conv.weight.copy_(grid_of(conv) * weight[:, :, None, None])
            spikes = largest * torch.tensor([[1.0, 1.0, 1.0], [0.0, 0.0, 1.0]])
            field = spikes.T.reshape(1, 3, 1, 2)
            exact = torch.equal(GridLinear(layer)(spikes), layer(spikes))
            return exact and torch.equal(GridConv(conv)(field), conv(field))
    except (RuntimeError, NotImplementedError, TypeError, AttributeError):
        return False
