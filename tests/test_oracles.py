"""The families against SpikingJelly's models of them: the same weights give the same spikes, layer by layer."""

import pytest
import torch
from spikingjelly.activation_based.functional import reset_net
from spikingjelly.activation_based.model.maxformer import MaxFormer
from spikingjelly.activation_based.model.qkformer import QKFormer
from spikingjelly.activation_based.model.spike_driven_transformer import SpikeDrivenTransformer
from spikingjelly.activation_based.model.spikformer import Spikformer
from spikingjelly.activation_based.neuron import BaseNode
from torch import nn

from autost_optuna import Architecture, SpikingTransformer, Task
from autost_optuna.network.neurons.module import NeuronModule
from autost_optuna.network.parts.sdsa import PooledSDSA
from autost_optuna.network.place import Place
from autost_optuna.proxies.rates import batch_statistics


def test_spikes_spread_in_heads_as_the_authors_of_sdt_pool_recordings():
    """They pool [T, B, h, N, C / h] by 3x3 maxima over the last two axes."""
    part = PooledSDSA(num_heads=4)
    module = part.module(Place(width=16, side=4, steps=2, still=False))
    spikes = (torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) < 0.1).float()
    heads = spikes.view(2, 3, 16, 4, 4).transpose(2, 3)
    expected = nn.MaxPool3d((1, 3, 3), (1, 1, 1), (0, 1, 1))(heads.flatten(0, 1).contiguous()).view_as(heads)
    assert torch.equal(module.smear(spikes), expected.transpose(2, 3).flatten(3))
    grid = spikes.transpose(2, 3).unflatten(3, (4, 4))
    pooled = nn.MaxPool3d((1, 3, 3), (1, 1, 1), (0, 1, 1))(grid.flatten(0, 1).contiguous()).view_as(grid)
    assert torch.equal(module.spread(spikes), pooled.flatten(3).transpose(2, 3))


TASK = Task(name="oracle", image_size=32, channels=3, num_classes=7, time_steps=2)
# Theirs pools in Spikformer's stem before the neurons, its authors behind them: it is compared without pooling.
SMALL = Task(name="oracle", image_size=8, channels=3, num_classes=7, time_steps=2, pooling="0000")
LARGE = Task(name="oracle", image_size=32, channels=3, num_classes=7, time_steps=2, pooling="1111")


def spikformer():
    sizes = {"in_channels": 3, "img_size_h": 8, "img_size_w": 8, "patch_size": 4, "embed_dims": 64, "num_heads": 4}
    made = Spikformer(T=2, num_classes=7, mlp_ratio=2.0, depths=2, **sizes)
    for name, module in list(made.named_modules()):
        if isinstance(module, nn.MaxPool2d):
            made.set_submodule(name, nn.Identity())
    return made


# The text of ours; the model, and the task. Theirs has attention as q (k^T v), as ours for ImageNet. SDT's head reads the
# mean of the spikes of all steps, which is linear: its input is compared.
PAIRS = {
    "spikformer": (
        "C=64,depth=2,heads=4,ratio=2,neuron=lif,stem=spikformer-imagenet,residual=spike",
        spikformer,
        SMALL,
    ),
    "sdt": (
        "C=64,depth=2,mixer=sdsa,ratio=2,neuron=lif,stem=sdt",
        lambda: SpikeDrivenTransformer(
            T=2, num_classes=7, embed_dims=64, num_heads=4, depths=2, mlp_ratio=2.0, pooling_stat="0011"
        ),
        TASK,
    ),
    "sdt with an MLP as wide as its stream": (
        "C=64,depth=1,mixer=sdsa,ratio=1,neuron=lif,stem=sdt",
        lambda: SpikeDrivenTransformer(
            T=2, num_classes=7, embed_dims=64, num_heads=4, depths=1, mlp_ratio=1.0, pooling_stat="0011"
        ),
        TASK,
    ),
    "qkformer": (
        "C=96,depth=4,mixer=qkta/qkta/qkta/ssa,heads=2/3/3/6,ratio=2,neuron=lif,stem=qkformer-imagenet,residual=spike,"
        "depths=1/2/1",
        lambda: QKFormer(T=2, num_classes=7, embed_dims=96, num_heads=(2, 3, 6), depths=(1, 2, 1), mlp_ratio=2.0),
        LARGE,
    ),
    "maxformer": (
        "C=64,depth=4,mixer=identity/depthwise/ssa/ssa,heads=-/-/8/8,kernel=-/3/-/-,ratio=4,neuron=lif,stem=maxformer,"
        "depths=1/1/2",
        lambda: MaxFormer(T=2, num_classes=7, embed_dims=64, depths=(1, 1, 2), cifar=True),
        TASK,
    ),
}


def called(network, kinds, run):
    """The modules of these kinds with their outputs, in the order in which they run."""
    seen = []
    leaves = [module for module in network.modules() if isinstance(module, kinds)]
    handles = [leaf.register_forward_hook(lambda m, i, out: seen.append((m, i[0], out.detach()))) for leaf in leaves]
    with torch.no_grad():
        run()
    for handle in handles:
        handle.remove()
    return seen


def copy_weights(theirs, ours):
    """The weights of their layers into ours, both in the order of the signal, in which shortcuts may stand elsewhere.

    One of theirs may hold several of ours, one below the other.
    """
    mine = [module for module, *_ in ours]
    for module, *_ in theirs:
        left = module.weight.detach().flatten(1)
        while len(left):
            layer = next(one for one in mine if one.weight[0].numel() == left.shape[1] and len(one.weight) <= len(left))
            mine.remove(layer)
            rows = len(layer.weight)
            with torch.no_grad():
                layer.weight.copy_(left[:rows].view_as(layer.weight))
            left = left[rows:]
    assert mine == []


def counts(seen):
    """Spikes of every layer of neurons, per step and image."""
    return [out.flatten(2).sum(2).tolist() for *_, out in seen]


@pytest.mark.slow
@pytest.mark.parametrize("name", PAIRS)
def test_weights_of_spikingjellys_model_give_its_spikes(name):
    text, make, task = PAIRS[name]
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(
        3, *task.input_shape, generator=generator, dtype=torch.float64
    )  # so that rounding moves no spike
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs, ours = make().train().double(), SpikingTransformer(Architecture.from_text(text), task).double()
    layers = (nn.Conv1d, nn.Conv2d, nn.Linear)

    def run_theirs():
        reset_net(theirs)
        theirs(images)

    def run_ours():
        with batch_statistics(ours):
            ours(images)

    for module in theirs.modules():  # biases before normalisation change nothing, except by rounding
        if isinstance(module, layers) and module.bias is not None:
            nn.init.zeros_(module.bias)
    copy_weights(called(theirs, layers, run_theirs), called(ours, layers, run_ours))
    found, expected = counts(called(ours, NeuronModule, run_ours)), counts(called(theirs, BaseNode, run_theirs))
    for layer in expected:  # q, k and v are one layer in some of theirs
        total, number = found.pop(0), 1
        while total != layer and number < 3:
            total = [[a + b for a, b in zip(x, y, strict=True)] for x, y in zip(total, found.pop(0), strict=True)]
            number += 1
        assert total == layer
    assert found == []
    assert any(sum(map(sum, layer)) for layer in expected)
    (*_, (_, heads, logits)) = called(theirs, nn.Linear, run_theirs)
    (*_, (_, mine, answers)) = called(ours, nn.Linear, run_ours)
    mine = mine.mean(2) if mine.dim() == 4 else mine  # tokens
    torch.testing.assert_close(over_images(mine), over_images(heads), rtol=0, atol=1e-5)
    torch.testing.assert_close(over_images(answers), over_images(logits), rtol=0, atol=1e-5)


def over_images(x):
    """[T, B, ...] or [B, ...] to [B, ...]: some heads read every step, others the mean."""
    return x.mean(0) if x.dim() == 3 else x
