"""Prepare a network for inference on a CPU: the same network with faster sums over spikes.

At initialisation weights are whole multiples of `linear.GRID`, so one 8-bit digit holds each of them exactly (`pack_grid`).
A trained network (`packed`) needs more. A spike is a byte. A layer that reads spikes absorbs the normalisation that follows
it. Each of its weights is rounded to a multiple of a step, 2^-23 of the largest weight of its channel, and written as three
8-bit digits. A sum over spikes is then three sums of products of 8-bit integers, each exact in any order. Only adding the
three rounds; the least is added first. Compared with sums in float64, the error is no larger than that of torch's float32
sums (tests/test_packed.py). The two errors differ, however, so a neuron whose potential equals its threshold to seven digits
may fire in one and not in the other.
"""

import copy
import functools
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from autost_optuna.network.blocks import Attention, Block, Stem
from autost_optuna.network.linear import GRID, SpikeLinear
from autost_optuna.network.transformer import SpikingTransformer

DIGITS = 3
STEPS = 127 << 8 * (DIGITS - 1)  # the largest weight, in steps: its digits are 127, 0, 0

Norm = nn.modules.batchnorm._BatchNorm


def packed(network: SpikingTransformer) -> SpikingTransformer:
    """A copy of `network` in eval mode, for inference only; `network` itself if its device has no 8-bit products."""
    network.eval()
    if next(network.parameters()).device.type != "cpu" or not _works():
        return network
    network = copy.deepcopy(network)
    stem = network.stem
    stem.__class__ = PackedStem
    stem.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    neurons = [stem.neuron1, stem.neuron2, stem.neuron3]
    for number in (2, 3, 4):
        _pack(stem, f"conv{number}", f"bn{number}")
    for block in network.blocks:
        assert isinstance(block, Block)
        attention, mlp = block.attention, block.mlp
        attention.__class__ = PackedAttention
        neurons += [attention.neuron, attention.out_neuron, mlp.neuron, mlp.hidden_neuron]
        for name in ("q", "k", "v", "proj"):
            _pack(attention, name, f"{name}_bn")
        for name in ("fc1", "fc2"):
            _pack(mlp, name, f"{name}_bn")
    for neuron in neurons:
        neuron.as_bytes = True
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


class PackedStem(Stem):
    """A stem whose spikes are bytes."""

    def pool(self, stage: int, x: Tensor) -> Tensor:
        """As in `Stem`, for bytes, which torch's own pooling does not accept."""
        if x.dtype == torch.uint8 and self.pooling[stage]:
            return torch.ops.quantized.max_pool2d(x, [3, 3], [2, 2], [1, 1], [1, 1], False)  # type: ignore[no-any-return]
        return super().pool(stage, x)


class PackedAttention(Attention):
    """Attention as q (k^T v) where its d x d values are fewer than N x N; for spikes both orders are exact and equal."""

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """[T, B, h, N, d] to [T, B, h, N, d]."""
        if q.shape[-2] > q.shape[-1]:
            return self.qk(q, self.av(k.transpose(-2, -1), v) * 0.125)  # type: ignore[no-any-return]
        return super().attend(q, k, v)


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


def pack_grid(part: nn.Module) -> int:
    """Make the linear layers of `part`, at initialisation, compute with 8-bit integers, if on the CPU and this torch can.

    Works in place and discards their float weights. Returns the bytes of the weights that remain.
    """
    held = 0
    for name, layer in list(part.named_modules()):
        if isinstance(layer, SpikeLinear):
            if layer.weight.device.type == "cpu" and _sums_exactly():
                part.set_submodule(name, GridLinear(layer))
                held += layer.weight.numel()
            else:
                held += layer.weight.numel() * layer.weight.element_size()
    return held


def _pack(part: nn.Module, name: str, norm: str) -> None:
    """Replace layer `name` of `part` and its `norm` by a packed layer."""
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
def _sums_exactly() -> bool:
    """Whether this torch has an 8-bit product with exact sums, however slow; not every processor supports it."""
    if not torch.backends.mkldnn.is_available():
        return False
    try:
        with torch.inference_mode():
            layer = SpikeLinear(3, 2)
            layer.weight.copy_(GRID * torch.tensor([[127.0, 1.0, -3.0], [-127.0, 0.0, 5.0]]))
            layer.bias.zero_()
            spikes = torch.tensor([[1.0, 1.0, 1.0], [0.0, 0.0, 1.0]])
            return torch.equal(GridLinear(layer)(spikes), layer(spikes))
    except (RuntimeError, NotImplementedError, TypeError, AttributeError):
        return False
