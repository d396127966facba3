import copy
from functools import partial

import pytest
import torch
from torch import nn

from autost_optuna import Architecture, Task
from autost_optuna.data import load
from autost_optuna.network import packed as module
from autost_optuna.network.layers import SpikeLinear
from autost_optuna.network.neurons.plif import PLIF
from autost_optuna.network.neurons.steps import CACHED, spikes
from autost_optuna.network.packed import PackedConv, PackedLinear, digits, packed
from autost_optuna.network.parts.ssa import SSA
from autost_optuna.network.parts.ssa_torch import PackedSSA, SSAModule
from autost_optuna.network.parts.stem import AutoSTStem
from autost_optuna.network.parts.stem_torch import AutoSTStemModule, PackedAutoSTStem
from autost_optuna.network.place import Place
from autost_optuna.network.transformer import SpikingTransformer
from autost_optuna.proxies.convention import DEFAULT
from autost_optuna.proxies.counts import shares_of
from autost_optuna.proxies.rates import measure_rates
from autost_optuna.training.batches import Batches
from autost_optuna.training.evaluation import accuracy_of, judge, measured_of, recalibrate

needs_products = pytest.mark.skipif(not module._works(), reason="this processor has no products of 8-bit integers")
CPU = torch.device("cpu")
TASK = Task(name="digits", image_size=8, channels=1, num_classes=10, time_steps=3, pooling="0011")


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def norm_of(kind, channels):
    """A normalisation that is far from the identity, with some negative gains."""
    norm = kind(channels).eval()
    for tensor, spread in ((norm.weight, 1.0), (norm.bias, 0.5), (norm.running_mean, 0.3)):
        tensor.data.normal_(0.0, spread, generator=seeded(channels))
    norm.running_var.uniform_(0.1, 2.0, generator=seeded(channels))
    return norm


@pytest.fixture(scope="module")
def digits_data():
    return load("digits", TASK)


@pytest.fixture(scope="module")
def trained(digits_data):
    """A network after some steps of training, which moves its weights off the grid on which they begin."""
    network = SpikingTransformer(Architecture.uniform(embed_dim=64, depth=2, num_heads=4, mlp_ratio=2), TASK)
    batches = Batches(digits_data.train, torch.arange(640), digits_data.normalisation, TASK, CPU)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    for inputs, labels in batches.in_order(32):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network.train()(inputs), labels).backward()
        optimizer.step()
    recalibrate(network, (inputs for inputs, _ in batches.in_order(64)))
    return network.eval()


def test_digits_are_the_weight_to_half_a_step_of_its_channel():
    weight = torch.randn(6, 5, 3, 3, generator=seeded())
    weight[0] *= 1e-6
    weight[1] = 0.0
    weight[2, 0, 0, 0] = -1e4  # the others of its channel keep what is left of 24 bits
    found = digits(weight)
    whole = sum(digit.double() * worth.view(-1, 1, 1, 1) for digit, worth in found)
    half = weight.double().abs().amax((1, 2, 3), keepdim=True) / (127 << 16) / 2
    assert ((whole - weight).abs() <= half * (1 + 1e-9)).all()
    assert all(digit.dtype == torch.int8 for digit, _ in found)
    assert torch.equal(whole[1], torch.zeros(5, 3, 3, dtype=torch.float64))


def test_digits_by_hand():
    # Steps of 1 where the largest weight is 127 * 65536: 70000 = 1 * 65536 + 17 * 256 + 112.
    (low, _), (middle, _), (high, worth) = digits(torch.tensor([[127.0 * 65536, 70000.0, -1.0, 128.0]]))
    assert high.tolist() == [[127, 1, 0, 0]]
    assert middle.tolist() == [[0, 17, 0, 1]]
    assert low.tolist() == [[0, 112, -1, -128]]
    assert worth.tolist() == [65536.0]


@needs_products
@pytest.mark.parametrize("share", [0.02, 0.2, 0.9])
def test_packed_layers_are_as_close_to_the_sums_as_torch_is(share):
    linear, norm = SpikeLinear(192, 70), norm_of(nn.BatchNorm1d, 70)
    conv, norm2 = nn.Conv2d(24, 40, 3, padding=1, bias=False), norm_of(nn.BatchNorm2d, 40)
    with torch.inference_mode():
        for layer, after, fast, shape in (
            (linear, norm, PackedLinear(linear, norm), (500, 192)),
            (conv, norm2, PackedConv(conv, norm2), (6, 24, 16, 16)),
        ):
            x = (torch.rand(shape, generator=seeded()) < share).float()
            exact = copy.deepcopy(nn.Sequential(layer, after)).double()(x.double())
            plain = (after(layer(x)) - exact).abs()
            ours = (fast(x.to(torch.uint8)) - exact).abs()
            assert ours.mean() < 1.5 * plain.mean()
            assert ours.max() < 2 * plain.max()


@needs_products
@pytest.mark.slow
def test_a_packed_network_fires_as_the_network_does(trained, digits_data):
    images, _ = next(Batches(digits_data.test, torch.arange(200), digits_data.normalisation, TASK, CPU).in_order(200))
    fast = packed(trained)
    with torch.inference_mode():
        plain, ours = trained(images), fast(images)
        parts = torch.cat([fast(part) for part in images.split(7)])
    assert torch.equal(parts, ours)  # sums of integers depend on no order, so not on the batch either
    equal = (ours - plain).abs().amax(1) < 1e-5
    assert equal.sum() >= 190  # of the others a neuron on its threshold fired in one alone
    assert (ours - plain).abs().max() < 0.1 * plain.std()
    assert plain.std() > 0.1
    assert trained.blocks[0].attention.neuron.as_bytes is False  # the network itself stays as it was


@needs_products
def test_accuracy_on_a_whole_test_set_is_the_plain_networks_and_so_is_the_energy(trained, digits_data, monkeypatch):
    test = Batches(digits_data.test, torch.arange(359), digits_data.normalisation, TASK, CPU)
    ours, energy = accuracy_of(trained, test), measured(trained, test)
    monkeypatch.setattr(module, "_works", lambda: False)
    plain, expected = accuracy_of(trained, test), measured(trained, test)
    with torch.inference_mode():
        right = sum(int((trained(x).argmax(1) == y).sum()) for x, y in test.in_order(250))
    assert plain == right / 359
    assert ours == plain > 0.3
    assert energy.energy_mj == pytest.approx(expected.energy_mj, rel=1e-4)
    assert list(energy.rates) == list(expected.rates)
    assert energy.rates == pytest.approx(expected.rates, rel=1e-3)
    assert energy.initial_rates == expected.initial_rates
    # Without products of 8-bit integers nothing is rounded in another way.
    assert expected.rates == pytest.approx(mean_of(measure_rates(trained, next(test.in_order(359))[0])), rel=1e-12)


def hear(heard, *at):
    heard.append(at)


def measured(network, images):
    return measured_of(network, images, judge(network, images, rate_images=len(images)).rates, DEFAULT, seed=0)


def mean_of(samples):
    return {name: sum(sample[name] for sample in samples) / len(samples) for name in samples[0]}


def test_images_that_are_too_close_to_call_are_judged_by_the_network_itself(trained, digits_data, monkeypatch):
    class Wrong(nn.Module):
        """Logits of two classes that are equally likely, but for the first half of the images."""

        def forward(self, images):
            logits = torch.zeros(len(images), 10)
            logits[:, 0] = 1.0
            logits[len(images) // 2 :, 1] = 1.0
            return logits

    from autost_optuna.training import evaluation

    test = Batches(digits_data.test, torch.arange(100), digits_data.normalisation, TASK, CPU)
    with torch.inference_mode():
        images, labels = next(test.in_order(100))
        first = trained(images).argmax(1) == labels
    monkeypatch.setattr(evaluation, "packed", lambda network: Wrong())
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    heard = []
    found = judge(trained, test, on_done=lambda *at: heard.append(at))
    assert found.accuracy == (int((labels[:50] == 0).sum()) + int(first[50:].sum())) / 100
    assert heard == [(50, 100), (100, 100)]


def test_threads_and_batches_change_nothing_and_all_images_are_counted(trained, digits_data):
    test = Batches(digits_data.test, torch.arange(101), digits_data.normalisation, TASK, CPU)
    before, found = torch.get_num_threads(), []
    try:
        for threads, size in ((1, 250), (3, 250), (2, 17)):
            torch.set_num_threads(threads)
            heard = [(0, 101)]
            found.append(judge(trained, test, rate_images=40, batch_size=size, on_done=partial(hear, heard)))
            assert torch.get_num_threads() == threads
            assert heard[-1] == (101, 101)
            assert heard == sorted(heard)
    finally:
        torch.set_num_threads(before)
    assert found[0] == found[1] == found[2]
    assert len(found[0].rates) == 40


def test_what_should_be_spikes_and_is_not_is_refused(trained, digits_data, monkeypatch):
    test = Batches(digits_data.test, torch.arange(10), digits_data.normalisation, TASK, CPU)
    monkeypatch.setattr(module, "_works", lambda: False)
    broken = copy.deepcopy(trained)
    broken.blocks[1].mlp.neuron = nn.Identity()
    with pytest.raises(RuntimeError, match=r"blocks.1.mlp.fc1 should read spikes and reads other values"):
        judge(broken, test, rate_images=10)


@pytest.mark.parametrize("shape", [(4, 3, 5, 7), (2, CACHED + 3), (3, 2, 8, 4, 4)])
def test_spikes_as_bytes_are_the_spikes(shape):
    x = 2 * torch.randn(shape, generator=seeded())
    if len(shape) == 5:
        x = x.flatten(0, 1).contiguous(memory_format=torch.channels_last).view(shape)
    decay = torch.tensor(0.4)
    found = spikes(x, decay, 1.0, as_bytes=True)
    assert found.dtype == torch.uint8
    assert found.stride() == x.stride()
    assert torch.equal(found.float(), spikes(x, decay, 1.0))


def test_bytes_are_pooled_and_counted_as_floats_are():
    part, at = AutoSTStem(width=16, pooling=TASK.pooling), Place(width=1, side=8, steps=3, still=True)
    with torch.device("meta"):
        stem, bytes_stem = AutoSTStemModule(part, at), PackedAutoSTStem(part, at)
    for size in (5, 8):
        x = (torch.rand(6, 4, size, size, generator=seeded()) < 0.3).float()
        few = x.to(torch.uint8).contiguous(memory_format=torch.channels_last)
        assert torch.equal(bytes_stem.pool(2, few).float(), stem.pool(2, x))
        conv = nn.Conv2d(4, 4, 3)
        assert torch.equal(shares_of(conv, few, 2), shares_of(conv, x, 2))
    rows = (torch.rand(3, 2, 9, 24, generator=seeded()) < 0.3).float()
    assert torch.equal(shares_of(nn.Linear(24, 1), rows.to(torch.uint8), 2), shares_of(nn.Linear(24, 1), rows, 2))
    ones = torch.ones(2, 1, 4096, dtype=torch.uint8)
    assert shares_of(nn.Linear(1, 1), ones, 1).tolist() == [1.0]  # no byte overflows


def test_the_order_of_products_changes_no_bit():
    at = Place(width=32, side=6, steps=2, still=False)
    attention, packed_attention = (form(SSA(num_heads=4), at).eval() for form in (SSAModule, PackedSSA))
    q, k, v = ((torch.rand(2, 3, 4, 40, 8, generator=seeded(n)) < 0.3).float() for n in range(3))
    with torch.inference_mode():
        assert torch.equal(packed_attention.attend(q, k, v), attention.attend(q, k, v))


def test_neurons_give_bytes_only_where_they_are_asked_to():
    x = torch.randn(3, 4, generator=seeded())
    neuron = PLIF().module()
    with torch.inference_mode():
        assert neuron(x).dtype == torch.float32
        neuron.as_bytes = True
        assert neuron(x).dtype == torch.uint8
