import copy
import math
import shutil
from dataclasses import replace

import pytest
import torch
from spikingjelly.activation_based import surrogate
from spikingjelly.activation_based.neuron import ILIFNode, ParametricLIFNode

from autost_optuna.network.neurons import steps
from autost_optuna.network.neurons.ilif import ILIF
from autost_optuna.network.neurons.kinds import KINDS
from autost_optuna.network.neurons.lif import LIF
from autost_optuna.network.neurons.module import NeuronModule, reset
from autost_optuna.network.neurons.plif import PLIF
from autost_optuna.network.neurons.plif_torch import PLIFModule
from autost_optuna.network.neurons.steps import ALPHA
from autost_optuna.network.parts.mlp import MLP
from autost_optuna.network.parts.ssa import SSA
from autost_optuna.network.parts.stem import AutoSTStem
from autost_optuna.network.place import Place


def run(forward, node, currents, upstream, w):
    """Spikes, and gradients of currents and w."""
    node.w.data.fill_(w)
    leaf = currents.detach().requires_grad_()
    spikes = forward(node, leaf)
    grads = torch.autograd.grad(spikes, (leaf, node.w), upstream)
    reset(node)
    return spikes.detach(), *grads


def both(currents, upstream, *, threshold=1.0, w=0.0):
    """By this project's function and by SpikingJelly's."""
    node = PLIF(threshold=threshold).module().to(torch.float64 if currents.dtype == torch.float64 else torch.float32)
    ours = run(PLIFModule.multi_step_forward, node, currents, upstream, w)
    return ours, run(ParametricLIFNode.multi_step_forward, node, currents, upstream, w)


def drawn(*shape, dtype=torch.float32, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def test_a_trajectory_with_another_time_constant_and_threshold_by_eye():
    # h = v + (x - v) / 4: 1, then 2 fires at the threshold and resets to 0, then 1.5, then 2.125 fires.
    currents = torch.tensor([4.0, 5.0, 6.0, 4.0]).view(4, 1)
    node = PLIF(tau=4, threshold=2).module()
    assert node.decay(torch.float64).item() == pytest.approx(1 / 4)
    potentials, fired = steps.unrolled(currents, torch.tensor(0.25), 2.0)
    assert [h.item() for h in potentials] == [1.0, 2.0, 1.5, 2.125]
    assert [s.item() for s in fired] == [False, True, False, True]
    # The float next to 1 / 4 that the twin learns from may stop just below a threshold that is met exactly.
    near = torch.tensor([4.0, 5.1, 6.0, 4.0]).view(4, 1)
    for grad in (True, False):
        with torch.set_grad_enabled(grad):
            assert node(near).flatten().tolist() == [0.0, 1.0, 0.0, 1.0]


@pytest.mark.parametrize("given", [{"tau": 1}, {"tau": 0.5}, {"tau": math.nan}, {"tau": math.inf}, {"tau": "2"}])
def test_a_time_constant_that_no_neuron_has_is_refused(given):
    with pytest.raises(ValueError, match=rf"tau {given['tau']!r} .*number above 1; give one, such as 2"):
        PLIF(**given)


@pytest.mark.parametrize("threshold", [0, -1.0, math.nan, math.inf, True, None])
def test_a_threshold_that_no_neuron_has_is_refused(threshold):
    with pytest.raises(ValueError, match=rf"threshold {threshold!r} .*number above 0; give one, such as 1"):
        PLIF(threshold=threshold)


@pytest.mark.parametrize("kind", [PLIF, LIF], ids=["plif", "lif"])
@pytest.mark.parametrize("tau", [1.3, 2.0, 5.0])
@pytest.mark.parametrize("threshold", [1.0, 0.5, 0.3])
def test_plain_and_fast_steps_are_spikingjellys(kind, tau, threshold):
    currents = 2 * drawn(5, 3, 7, 40)
    node = kind(tau=tau, threshold=threshold).module()
    assert node.v_threshold == threshold
    with torch.no_grad():
        decay = node.decay(torch.float32)
        assert decay.item() == pytest.approx(1 / tau, rel=1e-6)
        _, plain = steps.unrolled(currents, decay, threshold)
        fast, theirs = node(currents), super(NeuronModule, node).multi_step_forward(currents)
    assert 0.02 < fast.mean() < 0.6
    assert torch.equal(torch.stack(plain).float(), theirs)
    assert torch.equal(fast, theirs)


@pytest.mark.parametrize("tau", [1.3, 4 / 3, 5.0])
@pytest.mark.parametrize(("threshold", "levels"), [(1.0, 4), (0.5, 1), (0.3, 15)])
def test_an_integer_lif_is_spikingjellys(tau, threshold, levels):
    currents = 3 * drawn(5, 3, 7, 40)
    node = ILIF(tau=tau, threshold=threshold, levels=levels).module()
    with torch.no_grad():
        ours = node(currents)
        theirs = ILIFNode.multi_step_forward(node, currents)
        node.reset()
        node.as_bytes = True
        assert node(currents).dtype == torch.uint8
        assert torch.equal(node(currents).float(), ours)
    assert torch.equal(ours, theirs)
    assert set(ours.unique().tolist()) == set(range(levels + 1))
    assert node.distance(currents, ours) <= 0
    other = ours.clone()
    other[2, 0, 0, 0] += 1 if other[2, 0, 0, 0] < levels else -1
    assert node.distance(currents, other) > 0


def test_an_integer_lifs_trajectory_and_gradient_by_eye():
    # h = v / 4 + x: 1.75 sends 2, 2.94 sends 3, -0.02 sends none, and 9 sends the most, 4.
    currents = torch.tensor([1.75, 3.0, 0.0, 9.0])[:, None].requires_grad_()
    node = ILIF().module()
    with torch.no_grad():
        assert node(currents).flatten().tolist() == [2, 3, 0, 4]
    node(currents)[1].sum().backward()  # what 1.75 leaves behind is a quarter as much in the next step
    assert currents.grad.flatten().tolist() == [0.25, 1, 0, 0]
    node.reset()
    currents.grad = None
    node(currents)[3].sum().backward()  # the largest number does not change
    assert currents.grad.flatten().tolist() == [0, 0, 0, 0]


def test_levels_are_checked():
    with pytest.raises(ValueError, match=r"levels 2\.5 is not a whole number"):
        ILIF(levels=2.5)
    with pytest.raises(ValueError, match="levels 16 of a neuron are over the bound 15; choose fewer"):
        ILIF(levels=16)
    assert ILIF(levels=8.0).levels == 8


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_kind_knows_its_word_its_twin_and_its_parameters(kind):
    node = kind().module()
    assert (kind, node.neuron) == (KINDS[kind.word], kind())
    assert sum(parameter.numel() for parameter in node.parameters()) == kind.params
    with torch.device("meta"):
        assert all(parameter.is_meta for parameter in kind().module().parameters())


def test_a_neuron_starts_at_its_time_constant():
    for tau in (1.25, 2.0, 3.0, 16.0):
        node = PLIF(tau=tau).module()
        node.w.data.fill_(7.0)
        node.reset_parameters()
        assert node.decay(torch.float32).item() == pytest.approx(1 / tau, rel=1e-6)
    node = PLIF().module()
    node.reset_parameters()
    assert math.copysign(1.0, node.w.item()) == 1.0  # as in every network so far, bit for bit
    assert node.w.item() == 0.0


def test_parts_build_the_neurons_that_their_place_carries():
    neuron = PLIF(tau=3.0, threshold=0.8)
    at = Place(width=16, side=4, steps=2, still=False, neuron=neuron)
    for part in (AutoSTStem(width=16, pooling="0000"), SSA(num_heads=2), MLP(mlp_ratio=2)):
        here = at.entering(None if part.name == "stem" else 0, part.name)
        with torch.device("meta"):
            twin = part.module(here)
        twin.initialise(0)
        for name, node in twin.named_modules():
            if isinstance(node, NeuronModule):
                assert node.neuron == (replace(neuron, threshold=0.5) if name == "out_neuron" else neuron)
                assert node.w.item() == pytest.approx(-math.log(2.0))


def test_given_spikes_follow_from_currents_or_are_told_apart_by_their_distance():
    node = PLIF().module()
    currents = torch.tensor([[1.6], [1.6], [1.8]])  # h = 0.8, 1.2, 0.9
    with torch.no_grad():
        assert node.distance(currents, node(currents)) <= 0
        early = torch.tensor([[1.0], [0.0], [1.0]])  # 0.8 is 0.2 below; then h = 0.8, and 1.3
        assert node.distance(currents, early) == pytest.approx(0.2)


def test_gradients_by_hand():
    # d = 1/2, x = 1.6, 2.0: h = 0.8, v = 0.8, h = 1.4. With y = sigmoid(4 (h - 1)) the slope is 4 y (1 - y).
    slope = [4 * y * (1 - y) for y in (1 / (1 + 2.718281828459045**0.8), 1 / (1 + 2.718281828459045**-1.6))]
    second = slope[1] * 3.0
    first = slope[0] * 1.0 + second / 2
    x = torch.tensor([[1.6], [2.0]], requires_grad=True)
    node = PLIF().module()
    spikes = node(x)
    spikes.backward(torch.tensor([[1.0], [3.0]]))
    assert spikes.flatten().tolist() == [0.0, 1.0]
    assert x.grad.flatten().tolist() == pytest.approx([first / 2, second / 2])
    # dh/dd = x - v: 1.6 and then 2.0 - 0.8; dd/dw = 1/4.
    assert node.w.grad.item() == pytest.approx((1.6 * first + 1.2 * second) / 4)


def test_a_spike_stops_the_gradient_through_the_potential():
    x = torch.tensor([[3.0], [1.0]], requires_grad=True)  # the first step fires
    PLIF().module()(x)[1].sum().backward()
    assert x.grad[0] == 0
    assert x.grad[1] > 0


@pytest.mark.parametrize("steps", [1, 2, 4])
@pytest.mark.parametrize("threshold", [1.0, 0.5])
@pytest.mark.parametrize("w", [0.0, 0.9, -1.1])
def test_spikes_are_spikingjellys_bit_for_bit_and_gradients_within_rounding(steps, threshold, w):
    currents, upstream = 3 * drawn(steps, 3, 5, 700), drawn(steps, 3, 5, 700, seed=1)
    ours, theirs = both(currents, upstream, threshold=threshold, w=w)
    assert 0.02 < ours[0].mean() < 0.6
    assert torch.equal(ours[0], theirs[0])
    torch.testing.assert_close(ours[1], theirs[1], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(ours[2], theirs[2], rtol=1e-4, atol=1e-2)  # a sum of up to 42,000 terms


@pytest.mark.parametrize("w", [0.0, 0.9, -1.1])
def test_gradients_in_float64_are_spikingjellys_to_twelve_digits(w):
    currents, upstream = 1.5 * drawn(4, 2000, dtype=torch.float64), drawn(4, 2000, dtype=torch.float64, seed=1)
    ours, theirs = both(currents, upstream, w=w)
    assert torch.equal(ours[0], theirs[0])
    torch.testing.assert_close(ours[1], theirs[1], rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(ours[2], theirs[2], rtol=1e-12, atol=1e-12)


def test_pieces_of_neurons_make_no_difference(monkeypatch):
    currents, upstream = 1.5 * drawn(4, 1001), drawn(4, 1001, seed=1)
    whole = both(currents, upstream)[0]
    monkeypatch.setattr(steps, "CHUNK", 64)
    pieces = both(currents, upstream)[0]
    assert torch.equal(whole[0], pieces[0])
    assert torch.equal(whole[1], pieces[1])
    torch.testing.assert_close(whole[2], pieces[2])


def layouts():
    """The same values [4, 6, 5, 3, 2] in several orders of memory."""
    x = 1.5 * drawn(4, 6, 5, 3, 2)
    last = x.flatten(0, 1).contiguous(memory_format=torch.channels_last).view(x.shape)
    inner = x.transpose(0, 1).contiguous().transpose(0, 1)
    sparse = torch.zeros(4, 6, 5, 3, 4)[..., ::2].copy_(x)
    return {"plain": x, "channels last": last, "time inside": inner, "with gaps": sparse}


@pytest.mark.parametrize("name", ["channels last", "time inside", "with gaps"])
def test_the_order_of_memory_makes_no_difference(name):
    plain, other = layouts()["plain"], layouts()[name]
    assert torch.equal(plain, other)
    assert plain.stride() != other.stride()
    upstream = drawn(*plain.shape, seed=1)
    expected = both(plain, upstream)[0]
    for gradient in (
        upstream,
        upstream.transpose(1, 4).contiguous().transpose(1, 4),
        torch.ones(1).expand(plain.shape),
    ):
        found = both(other, gradient)[0]
        assert torch.equal(found[0], expected[0])
        torch.testing.assert_close(found[1], both(plain, gradient)[0][1], rtol=0, atol=0)


def test_spikes_of_channels_last_currents_are_channels_last():
    spikes = PLIF().module()(layouts()["channels last"])
    assert spikes.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)
    assert spikes.requires_grad


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(dtype):
    currents, upstream = (1.5 * drawn(4, 3000)).to(dtype), drawn(4, 3000, seed=1).to(dtype)
    ours, _ = both(currents, upstream)
    assert ours[0].dtype == ours[1].dtype == dtype
    assert ours[2].dtype == torch.float32
    whole, theirs = both(currents.float(), upstream.float())
    assert torch.equal(ours[0].float(), theirs[0])
    assert torch.equal(ours[1], whole[1].to(dtype))
    torch.testing.assert_close(ours[2], whole[2])


def test_autocast_gives_the_neuron_what_the_layer_before_it_gives():
    layer, node = torch.nn.Linear(40, 50), PLIF().module()
    with torch.autocast("cpu", torch.bfloat16):
        spikes = node(layer(3 * drawn(4, 7, 40)))
    assert spikes.dtype == torch.bfloat16
    spikes.float().sum().backward()
    assert layer.weight.grad.dtype == node.w.grad.dtype == torch.float32
    assert layer.weight.grad.abs().sum() > 0


def test_nothing_is_left_behind():
    node = PLIF().module()
    x = drawn(4, 30).requires_grad_()
    first = node(x)
    copy.deepcopy(node)  # spikingjelly refuses this for neurons that hold state
    assert node.v == 0.0
    assert torch.equal(node(x), first)
    reset(node)
    assert torch.equal(node(x), first)


def test_a_neuron_that_is_not_at_rest_goes_on_from_its_state():
    x = 1.2 * torch.ones(2, 1)  # h = 0.6, 0.9, 1.05
    node, other = PLIF().module(), PLIF().module()
    node.v = torch.tensor([0.9])
    ParametricLIFNode.multi_step_forward(other, 1.8 * torch.ones(1, 1))  # leaves v = 0.9
    leaf = x.clone().requires_grad_()
    spikes = node(leaf)
    assert spikes.flatten().tolist() == [1.0, 0.0]
    assert torch.equal(spikes, other(x))
    spikes.sum().backward()
    assert leaf.grad.abs().sum() > 0
    assert isinstance(node.v, torch.Tensor)


def test_single_steps_are_spikingjellys():
    node = PLIF().module()
    node.step_mode = "s"
    assert [node(torch.full((1,), value)).item() for value in (1.6, 1.6, 1.8, 1.2)] == [0.0, 1.0, 0.0, 1.0]


def test_the_surrogate_is_the_one_that_the_neuron_declares():
    assert PLIF().module().surrogate_function.alpha == ALPHA
    x = torch.linspace(-1.0, 3.0, 9).view(1, 9).requires_grad_()
    PLIF().module()(x).sum().backward()
    h = (x / 2).detach().requires_grad_()
    surrogate.Sigmoid(alpha=ALPHA)(h - 1.0).sum().backward()
    torch.testing.assert_close(x.grad, h.grad / 2)


def test_weights_that_are_not_trained_get_no_gradient():
    node = PLIF().module()
    node.w.requires_grad_(False)
    x = drawn(2, 5).requires_grad_()
    node(x).sum().backward()
    assert node.w.grad is None
    assert x.grad.abs().sum() > 0


@pytest.mark.filterwarnings("default")  # torch hides warnings of its own, which pytest brings out as errors
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.slow
def test_fused_it_is_the_same_neuron(dtype):
    for threshold, shape in ((1.0, (4, 3, 50)), (0.5, (4, 7, 33)), (1.0, (1, 5)), (1.0, (5, 2, 3, 4, 4))):
        node = PLIF(threshold=threshold).module()
        currents, upstream = (1.5 * drawn(*shape)).to(dtype), drawn(*shape, seed=1).to(dtype)
        expected = run(PLIFModule.multi_step_forward, node, currents, upstream, 0.7)
        node.fused = True
        found = run(PLIFModule.multi_step_forward, node, currents, upstream, 0.7)
        assert torch.equal(found[0], expected[0])
        assert found[1].dtype == dtype
        exact = dtype == torch.float32
        torch.testing.assert_close(found[1:], expected[1:], rtol=1e-4 if exact else 1e-2, atol=1e-5 if exact else 1e-3)


@pytest.mark.filterwarnings("default")
def test_a_network_around_it_can_be_compiled():
    node = PLIF().module()
    compiled = torch.compile(node, backend="aot_eager", dynamic=False)
    currents, upstream = 1.5 * drawn(4, 3, 50), drawn(4, 3, 50, seed=1)
    found = run(lambda node, x: compiled(x), node, currents, upstream, 0.7)
    expected = run(PLIFModule.multi_step_forward, node, currents, upstream, 0.7)
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)
    compiled(currents)
    assert node.v == 0.0  # SpikingJelly's own would have left a state
