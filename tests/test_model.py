import copy
import dataclasses

import pytest
import torch
from spikingjelly.activation_based.neuron import ParametricLIFNode

from autost_optuna import Architecture, SpikingTransformer, Task
from autost_optuna.network.layers import (
    GRID,
    ChannelNorm,
    ShortLinear,
    SpikeConv,
    SpikeLinear,
    draw_layers,
    draw_weights,
    grid_of,
)
from autost_optuna.network.neurons.plif import PLIF
from autost_optuna.network.packed import GridConv, GridLinear, pack_grid
from autost_optuna.network.parts.mlp import MLP
from autost_optuna.network.parts.mlp_torch import MLPModule
from autost_optuna.network.parts.ssa import SSA
from autost_optuna.network.parts.ssa_torch import ShortSSA, SSAModule
from autost_optuna.network.parts.stem import AutoSTStem
from autost_optuna.network.parts.stem_torch import AutoSTStemModule, ShortAutoSTStem
from autost_optuna.network.place import Place


def network(task, *, embed_dim=32, heads=(4, 2), ratios=(2, 1), seed=0):
    return SpikingTransformer(
        Architecture(embed_dim=embed_dim, depth=len(heads), num_heads=heads, mlp_ratio=ratios), task, seed=seed
    )


def test_a_neurons_trajectory_by_eye():
    # h = v + (x - v) / 2: 0.8, then 1.2 fires and resets to 0, then 0.9, then 1.05 fires.
    currents = torch.tensor([1.6, 1.6, 1.8, 1.2]).view(4, 1)
    expected = torch.tensor([0.0, 1.0, 0.0, 1.0]).view(4, 1)
    for grad in (True, False):
        with torch.set_grad_enabled(grad):
            assert torch.equal(PLIF().module()(currents), expected)
            assert PLIF(threshold=0.5).module()(currents).sum() == 4


@pytest.mark.parametrize("w", [0.0, 0.7, -1.3])
def test_the_forward_without_gradient_is_spikingjellys_bit_for_bit(w):
    currents = 2 * torch.randn(5, 3, 40, generator=torch.Generator().manual_seed(1))
    neuron = PLIF().module()
    with torch.no_grad():
        neuron.w.fill_(w)
        fast = neuron(currents)
        slow = ParametricLIFNode.multi_step_forward(neuron, currents)
    assert 0.02 < fast.mean() < 0.6
    assert torch.equal(fast, slow)


def test_settings_of_the_neuron_are_autosts():
    neuron = PLIF().module()
    assert (neuron.v_threshold, neuron.v_reset, neuron.detach_reset, neuron.decay_input) == (1.0, 0.0, True, True)
    assert neuron.surrogate_function.alpha == 4.0
    assert neuron.w.sigmoid() == 0.5


def test_channel_norm_is_batch_norm_over_the_last_axis():
    x = torch.randn(3, 2, 5, 6)
    wide = torch.nn.BatchNorm1d(6)(x.reshape(30, 6)).view_as(x)
    assert torch.equal(ChannelNorm(6)(x), wide)


def test_shapes_for_every_preset_task():
    for name in ("cifar10", "cifar100", "digits", "nmnist"):
        task = Task.preset(name)
        images = torch.randn(2, *task.input_shape)
        with torch.no_grad():
            assert network(task)(images).shape == (2, task.num_classes)
    imagenet = Task.preset("imagenet")
    with torch.device("meta"), torch.no_grad():
        assert network(imagenet, seed=None)(torch.empty(1, 3, 224, 224)).shape == (1, 1000)


def recordings_of(toy_task):
    """A task of the same network that reads recordings, not images."""
    return dataclasses.replace(toy_task, events=True)


def test_an_image_repeated_by_hand_is_the_static_task_bit_for_bit(toy_task):
    images = torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    recording = images[:, None].repeat(1, toy_task.time_steps, 1, 1, 1)
    for mode in (True, False):
        with torch.no_grad():
            static = network(toy_task).train(mode)(images)
            assert torch.equal(network(recordings_of(toy_task)).train(mode)(recording), static)


def test_each_step_reads_a_frame_of_its_own(toy_task):
    task = recordings_of(toy_task)
    recording = torch.randn(5, 3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    spikes = []
    stem = network(task).stem.train()
    stem.neuron1.register_forward_hook(lambda module, inputs, out: spikes.append(out))
    stem.bn1.register_forward_pre_hook(lambda module, inputs: spikes.append(inputs[0]))
    with torch.no_grad():
        stem(recording)
        stem(recording.flip(1))
        frames = stem.conv1(recording[:, 2])
    forward, forward_spikes, backward, backward_spikes = spikes
    assert torch.equal(forward.view(3, 5, *forward.shape[1:])[2], frames)
    assert torch.equal(forward.view(3, 5, -1).flip(0), backward.view(3, 5, -1))
    assert forward_spikes.sum() > 0
    assert not torch.equal(forward_spikes.flip(0), backward_spikes)  # a neuron remembers what came before


@pytest.mark.parametrize("shape", [(2, 1, 8, 8), (2, 4, 1, 8, 8), (3, 2, 1, 8, 8), (2, 3, 1, 9, 9), (0, 3, 1, 8, 8)])
def test_recordings_of_another_form_are_refused(toy_task, shape):
    with pytest.raises(ValueError, match=r"do not fit task digits; give \[B, 3, 1, 8, 8\]"):
        network(recordings_of(toy_task))(torch.zeros(shape))
    with pytest.raises(ValueError, match=r"give \[B, 1, 8, 8\]"):
        network(toy_task)(torch.zeros(2, 3, 1, 8, 8))


def test_a_call_starts_from_rest_and_leaves_rest(toy_task):
    model = network(toy_task).train()
    images = torch.randn(4, 1, 8, 8)
    model(images).sum().backward()
    copy.deepcopy(model)  # spikingjelly refuses this for neurons that hold state
    model.eval()
    with torch.no_grad():
        assert torch.equal(model(images), model(images))


def test_every_parameter_gets_a_gradient(toy_task):
    model = network(toy_task).train()
    images = torch.randn(16, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    model(images).square().sum().backward()
    without = [name for name, p in model.named_parameters() if p.grad is None]
    assert without == []


@pytest.mark.parametrize(("tokens", "dim"), [(9, 8), (4, 8)])
def test_in_training_products_of_spikes_are_the_same_in_either_order(tokens, dim):
    at = Place(width=2 * dim, side=3, steps=4, still=False)
    attention, short = (form(SSA(num_heads=2), at) for form in (SSAModule, ShortSSA))
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.rand(4, 3, 2, tokens, dim, generator=generator).lt(0.4).float() for _ in range(3))
    with torch.no_grad():
        expected = attention.attend(q, k, v)
    assert expected.max() > 0.5
    assert torch.equal(short.attend(q, k, v), expected)
    upstream = torch.randn(expected.shape, generator=generator)
    leaves = [x.requires_grad_() for x in (q, k, v)]
    found = torch.autograd.grad(short.attend(*leaves), leaves, upstream)
    direct = torch.autograd.grad((q @ k.transpose(-2, -1)) @ v / 8, leaves, upstream)
    torch.testing.assert_close(found, direct)


def test_in_training_a_still_image_passes_the_first_convolution_once():
    stem = ShortAutoSTStem(AutoSTStem(width=32, pooling="0001"), Place(width=1, side=8, steps=4, still=True))
    stem.initialise(0)
    images = torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    shapes = []
    stem.conv1.register_forward_hook(lambda module, inputs, output: shapes.append(len(output)))
    before = copy.deepcopy(stem.bn1.state_dict())
    found = stem.currents(images)
    once = copy.deepcopy(stem.bn1.state_dict())
    stem.bn1.load_state_dict(before)
    with torch.no_grad():
        expected = stem.currents(images)
    assert shapes == [6, 24]
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(once, stem.bn1.state_dict(), rtol=3e-3, atol=1e-6)  # variances of 384 and 1536 pixels


def test_in_training_a_linear_layer_is_the_same_layer():
    layer, plain = ShortLinear(48, 20), torch.nn.Linear(48, 20)
    plain.load_state_dict(layer.state_dict())
    generator = torch.Generator().manual_seed(0)
    spikes = torch.rand(4, 3, 5, 48, generator=generator).lt(0.2).float()
    upstream = torch.randn(4, 3, 5, 20, generator=generator)
    inputs = spikes.clone().requires_grad_()
    torch.testing.assert_close(layer(inputs), plain(inputs))
    found, expected = (
        torch.autograd.grad(one(inputs), (inputs, one.weight, one.bias), upstream) for one in (layer, plain)
    )
    torch.testing.assert_close(found, expected)


SHORT = {ShortAutoSTStem: AutoSTStemModule, ShortSSA: SSAModule, ShortLinear: SpikeLinear}


def test_a_network_has_the_short_forms_and_without_gradients_computes_as_the_plain_ones(toy_task):
    model = network(toy_task).train()
    plain = copy.deepcopy(model)
    for module in plain.modules():
        module.__class__ = SHORT.get(type(module), type(module))
    count = len(model.blocks)
    kinds = [type(module) for module in model.modules()]
    assert [kinds.count(form) for form in SHORT] == [1, count, 6 * count]
    assert not {type(module) for module in plain.modules()} & set(SHORT)
    assert list(model.state_dict()) == list(plain.state_dict())
    images = torch.randn(16, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    for mode in (True, False):
        with torch.no_grad():
            assert torch.equal(model.train(mode)(images), plain.train(mode)(images))


def test_equal_blocks_have_equal_weights_whatever_stands_behind_them(toy_task):
    short = network(toy_task, heads=(4,), ratios=(2,)).state_dict()
    deep = network(toy_task, heads=(2, 4, 4), ratios=(2, 1, 2)).state_dict()
    shared = [name for name in short if name.startswith(("stem", "blocks.0"))]
    assert len(shared) > 30
    assert all(torch.equal(short[name], deep[name]) for name in shared)
    one, other = deep["blocks.1.attention.q.weight"], deep["blocks.2.attention.q.weight"]
    assert not torch.equal(one, other)


def test_a_smaller_mlp_is_a_part_of_a_larger_one():
    at = Place(width=40, side=2, steps=1, still=False).entering(3, "mlp")
    for small, large in ((40, 200), (24, 25), (39, 41)):
        few, many = (MLPModule(MLP(mlp_ratio=(hidden + 0.5) / 40), at) for hidden in (small, large))
        for mlp in (few, many):
            mlp.initialise(0)
        assert torch.equal(few.fc1.weight, many.fc1.weight[:small])
        assert torch.equal(few.fc2.weight, many.fc2.weight[:, :small])


def test_weights_at_initialisation_have_their_distribution():
    state = network(Task.preset("cifar10"), embed_dim=128, heads=(4,), ratios=(4,)).state_dict()
    for name in ("attention.q", "attention.proj", "mlp.fc1", "mlp.fc2"):
        weight = state[f"blocks.0.{name}.weight"]
        assert weight.std().item() == pytest.approx(0.02, rel=0.05)
        assert abs(weight.mean().item()) < 0.001
        assert torch.equal((weight / GRID).round() * GRID, weight)
        inside = (weight.abs() < 0.02).double().mean().item()
        assert inside == pytest.approx(0.6827, abs=0.015)  # as of a normal distribution
        assert state[f"blocks.0.{name}.bias"].count_nonzero() == 0
    bound = (1 / (9 * 64)) ** 0.5  # Kaiming uniform with a = sqrt(5): 1 / sqrt(fan in)
    conv4 = state["stem.conv4.weight"]
    assert 0.99 * bound < conv4.max() <= bound
    assert conv4.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)


def test_seeds_differ_and_repeat(toy_task):
    one, again, other = (network(toy_task, seed=seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(one["stem.conv1.weight"], other["stem.conv1.weight"])
    assert not torch.equal(one["head.weight"], other["head.weight"])


@pytest.mark.parametrize("rate", [0.0, 0.03, 0.3, 1.0])
def test_integers_give_the_sums_of_float32_and_of_any_order_bit_for_bit(rate):
    generator = torch.Generator().manual_seed(0)
    layer = SpikeLinear(1000, 48)
    spikes = (torch.rand(2, 3, 50, 1000, generator=generator) < rate).float()
    order = torch.randperm(1000, generator=generator)
    with torch.no_grad():
        layer.weight.copy_(draw_weights(48, 1000, generator))
        layer.bias.zero_()
        expected = layer(spikes)
        shuffled = torch.nn.functional.linear(spikes[..., order], layer.weight[:, order])
        reduced = torch.nn.functional.linear(spikes.double(), layer.weight.bfloat16().double()).float()
        assert torch.equal(shuffled, expected)
        assert torch.equal(reduced, expected)  # the weights lose nothing in bfloat16
        holder = torch.nn.Sequential(layer)
        assert pack_grid(holder, {"0": 1}) == layer.weight.numel() * (1 if isinstance(holder[0], GridLinear) else 4)
        assert torch.equal(holder(spikes), expected)


@pytest.mark.parametrize("most", [1, 25, 225])
@pytest.mark.parametrize(
    "shape",
    [(96, 96, 3, 1, 1, 2), (64, 64, 7, 1, 3, 64), (64, 128, 4, 4, 0, 1), (48, 96, 3, 2, 1, 1), (32, 64, 1, 2, 0, 1)],
)
def test_convolutions_of_integers_give_the_sums_of_float32_bit_for_bit(shape, most):
    read, written, kernel, stride, padding, groups = shape
    generator = torch.Generator().manual_seed(0)
    layer = SpikeConv(read, written, kernel, stride, padding, groups=groups, bias=False)
    draw_layers(layer, generator)
    digits = layer.weight / grid_of(layer)
    assert torch.equal(digits, digits.round())
    assert 60 < digits.abs().max() <= 127
    spikes = torch.randint(0, most + 1, (6, read, 16, 16), generator=generator).float()
    for field in (spikes, spikes.contiguous(memory_format=torch.channels_last)):
        with torch.no_grad():
            holder = torch.nn.Sequential(copy.deepcopy(layer))
            expected = layer(field)
            held = pack_grid(holder, {"0": most})
            found = holder(field)
        assert torch.equal(found, expected)
        assert found.stride() == expected.stride()
        assert held == layer.weight.numel() * (1 if isinstance(holder[0], GridConv) else 4)
    kept = torch.nn.Sequential(copy.deepcopy(layer))
    pack_grid(kept, {})  # it reads real values
    assert isinstance(kept[0], SpikeConv)


def test_stem_position_branch_reads_real_values_and_adds(toy_task):
    stem = network(toy_task).stem.train()
    assert isinstance(stem, AutoSTStemModule)
    seen = {}
    stem.position.register_forward_pre_hook(lambda module, inputs: seen.update(f=inputs[0]))
    with torch.no_grad():
        out = stem(torch.randn(2, 1, 8, 8))
        position = stem.position_bn(stem.position(seen["f"]))
    tokens = (seen["f"] + position).flatten(2).transpose(1, 2)
    assert torch.equal(out.flatten(0, 1), tokens)
    assert not set(seen["f"].unique().tolist()) <= {0.0, 1.0}


def test_networks_beyond_the_task_are_refused_before_they_are_built(toy_task):
    with pytest.raises(ValueError, match="embed_dim 8000000 is over the bound"):
        network(toy_task, embed_dim=8_000_000)
