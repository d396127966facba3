"""Other proxies: each on a case that can be followed by hand, then what must not change them, then the whole network."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from autost_optuna import Architecture, SpikingTransformer
from autost_optuna.network.neurons.module import NeuronModule
from autost_optuna.network.neurons.plif import PLIF
from autost_optuna.proxies.convention import CONVENTIONS, DEFAULT
from autost_optuna.proxies.goals import GOALS
from autost_optuna.proxies.gradients import grad_norm, path_network, snip, synflow, weight_gradients
from autost_optuna.proxies.patterns import Pattern, hamming_kernel, naswot, sahd, sparse_kernel, total_spikes
from autost_optuna.proxies.rates import batch_statistics
from autost_optuna.proxies.reuse import InitialRates
from autost_optuna.proxies.scores import measure_scores
from autost_optuna.proxies.zen import Features, zen
from autost_optuna.search.evaluate import evaluate

ARCHITECTURE = Architecture(embed_dim=32, depth=3, num_heads=(4, 2, 4), mlp_ratio=(2, 1, 2))
LABELS = torch.tensor([3, 0, 9, 1])


@pytest.fixture
def images():
    return torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def pattern(spikes):
    """[T, B, neurons] of 0 and 1."""
    spikes = np.asarray(spikes, dtype=np.float64)
    return Pattern(neurons=spikes.shape[2], shared=spikes @ spikes.transpose(0, 2, 1))


def linear(rows):
    layer = nn.Linear(len(rows[0]), len(rows), bias=False)
    layer.weight.data = torch.tensor(rows, dtype=torch.float32)
    return layer


def scores(task, images, labels=LABELS, names=GOALS, *, seed=0, convention=DEFAULT):
    """The proxies of ARCHITECTURE with the weights of `seed`."""
    rates = InitialRates(task, images, seed=seed, patterns=True)
    return measure_scores(ARCHITECTURE, rates, labels, names, convention)


# --- spike patterns ---

DENSE = pattern([[[1, 1, 0, 0], [1, 0, 1, 0]]])  # 4 neurons, 1 step; two images, which agree in 2 of them
SPARSE = pattern([[[1] + [0] * 9, [0] * 9 + [1]]])  # 10 neurons that fire at 0.1, and never at once


def test_naswot_by_hand():
    assert hamming_kernel([DENSE]).tolist() == [[4, 2], [2, 4]]
    assert naswot([DENSE]) == pytest.approx(math.log(4 * 4 - 2 * 2))
    assert hamming_kernel([DENSE, SPARSE]).tolist() == [[14, 10], [10, 14]]  # 2 + 8 agree of 14
    assert naswot([DENSE, SPARSE]) == pytest.approx(math.log(14**2 - 10**2))


def test_sahd_by_hand():
    # At rates of 1/2 distances stay; at 0.1 two random patterns differ in 0.18 of the neurons, and 2 becomes 2 x 0.5 / 0.18.
    assert sparse_kernel([DENSE]).tolist() == [[4, 2], [2, 4]]
    kernel = sparse_kernel([DENSE, SPARSE])
    off = (2 + 10 - 2 * 0.5 / 0.18) / 2
    assert kernel == pytest.approx(np.array([[7, off], [off, 7]]))
    assert sahd([DENSE, SPARSE]) == pytest.approx(math.log(7**2 - off**2))


def test_total_spikes_by_hand():
    assert total_spikes([DENSE, SPARSE]) == 3  # 2 and 1 of each image
    assert total_spikes([pattern([[[1, 1], [0, 0]], [[1, 0], [0, 0]]])]) == 1.5  # 3 of one image, none of the other


@pytest.mark.parametrize(("rate", "other"), [(0.5, 0.5), (0.1, 0.1), (0.02, 0.3), (0.9, 0.7)])
def test_the_sparsity_aware_distance_of_random_patterns_is_half_whatever_their_rates(rate, other):
    rng = np.random.default_rng(0)
    spikes = np.stack([rng.random(200_000) < rate, rng.random(200_000) < other])[None]
    assert sparse_kernel([pattern(spikes)])[0, 1] / 200_000 == pytest.approx(0.5, abs=0.01)


def test_steps_are_as_layers_are():
    first, then = [[1, 1, 0, 0], [1, 0, 1, 0]], [[0, 1, 0, 0], [0, 1, 1, 1]]
    together, apart = [pattern([first, then])], [pattern([first]), pattern([then])]
    assert naswot(together) == naswot(apart)
    assert sahd(together) == sahd(apart)
    assert total_spikes(together) == total_spikes(apart)


@pytest.mark.parametrize("count", [2, 3, 8, 33, 128])
@pytest.mark.parametrize("score", [naswot, sahd])
def test_two_images_of_one_pattern_cannot_be_told_apart(score, count):
    draw = np.random.default_rng(1)
    for _ in range(10):  # wherever they are: roundings of a determinant depend on it
        spikes = (draw.random((3, count, 50)) < 0.2).astype(float)
        assert math.isfinite(score([pattern(spikes)]))
        one, other = draw.choice(count, 2, replace=False)
        spikes[:, one] = spikes[:, other]
        assert score([pattern(spikes)]) == -math.inf
    assert score([pattern(np.zeros_like(spikes))]) == -math.inf


@pytest.mark.parametrize("score", [naswot, sahd, total_spikes])
def test_the_order_of_images_does_not_matter(score):
    spikes = (np.random.default_rng(2).random((3, 6, 50)) < 0.2).astype(float)
    assert score([pattern(spikes[:, [4, 2, 0, 5, 1, 3]])]) == pytest.approx(score([pattern(spikes)]), rel=1e-12)


def test_patterns_are_those_of_the_plain_network(toy_task, images):
    network = SpikingTransformer(ARCHITECTURE, toy_task)
    seen = []
    for module in network.modules():
        if isinstance(module, NeuronModule):
            module.register_forward_hook(lambda m, i, out: seen.append(out.flatten(2).double()))
    with batch_statistics(network), torch.no_grad():
        network(images)
    codes = torch.cat([spikes.transpose(0, 1).flatten(1) for spikes in seen], 1)  # [B, all neurons and steps]
    kernel = codes @ codes.t() + (1 - codes) @ (1 - codes).t()
    (found,) = InitialRates(toy_task, images, patterns=True).measure_patterns(ARCHITECTURE)
    assert len(found) == len(seen) == 3 + 7 * 3
    assert hamming_kernel(found).tolist() == kernel.tolist()
    assert naswot(found) == pytest.approx(torch.logdet(kernel).item(), rel=1e-12)
    assert total_spikes(found) == codes.sum().item() / 4


@pytest.mark.slow
def test_reused_patterns_equal_fresh_ones_and_rates_stay_as_they_are(toy_task, images):
    shared = InitialRates(toy_task, images, seeds=2, patterns=True)
    for heads, ratios in (((4, 2), (2, 2)), ((4, 2, 2), (2, 2, 1)), ((4, 4), (2, 2)), ((4, 2), (2, 2))):
        architecture = Architecture(embed_dim=32, depth=len(heads), num_heads=heads, mlp_ratio=ratios)
        fresh = InitialRates(toy_task, images, seeds=2, patterns=True).measure_patterns(architecture)
        assert shared.measure(architecture) == InitialRates(toy_task, images, seeds=2).measure(architecture)
        for ours, theirs in zip(shared.measure_patterns(architecture), fresh, strict=True):
            assert [p.neurons for p in ours] == [p.neurons for p in theirs]
            assert all((p.shared == q.shared).all() for p, q in zip(ours, theirs, strict=True))


def test_patterns_that_were_not_asked_for_are_not_there(toy_task, images):
    with pytest.raises(RuntimeError, match="patterns=True"):
        InitialRates(toy_task, images).measure_patterns(ARCHITECTURE)


# --- gradients ---

Q = 1 - 1 / (1 + math.exp(-1))  # probability of the wrong one of two classes, of logits 1 and 0


def test_snip_and_grad_norm_by_hand():
    network = linear([[1.0, 0.0], [0.0, 1.0]])
    gradients = weight_gradients(network, torch.tensor([[1.0, 0.0]]), torch.tensor([0]))
    ((_, gradient),) = gradients
    assert gradient.tolist() == pytest.approx(np.array([[-Q, 0], [Q, 0]]), rel=1e-6)  # (softmax - one-hot) x^T
    assert snip(gradients) == pytest.approx(Q, rel=1e-6)
    assert grad_norm(gradients) == pytest.approx(Q * math.sqrt(2), rel=1e-6)
    assert network.weight.grad is None


def test_gradients_pass_a_spike_by_the_surrogate():
    # Current 2, charge 2 / tau = 1 is the threshold, where the surrogate's slope is 4 x 1/4 = 1: ds / dw = 1/2.
    network = nn.Sequential(
        linear([[2.0]]), nn.Unflatten(0, (1, -1)), PLIF().module(), nn.Flatten(0, 1), linear([[1.0], [0.0]])
    )
    gradients = weight_gradients(network, torch.tensor([[1.0]]), torch.tensor([0]))
    assert [g.flatten().tolist() for _, g in gradients] == [
        pytest.approx([-Q / 2], rel=1e-6),
        pytest.approx([-Q, Q], rel=1e-6),
    ]
    assert snip(gradients) == pytest.approx(2 * Q / 2 + 1 * Q, rel=1e-6)
    assert grad_norm(gradients) == pytest.approx(Q / 2 + Q * math.sqrt(2), rel=1e-6)


def test_gradients_are_of_the_weights_of_all_weighted_layers(toy_task, images):
    network = SpikingTransformer(ARCHITECTURE, toy_task)
    with batch_statistics(network):
        gradients = weight_gradients(network, images, LABELS)
    assert len(gradients) == 5 + 6 * 3 + 1
    assert all(torch.isfinite(g).all() and w.shape == g.shape for w, g in gradients)
    assert all(parameter.grad is None for parameter in network.parameters())


def test_synflow_by_hand():
    # Paths of two layers: (1 + 2) x 1 + (3 + 4) x 1 = 10, and each layer holds all of the flow.
    two = nn.Sequential(linear([[1.0, -2.0], [3.0, 4.0]]), linear([[1.0, -1.0]]))
    ones = torch.ones(1, 2)
    assert synflow(two, ones) == pytest.approx(math.log(2 * 10), rel=1e-12)
    assert synflow(two, ones, [two[0]]) == pytest.approx(math.log(2 * 10), rel=1e-12)
    assert two[0].weight.tolist() == [[1, -2], [3, 4]]
    assert synflow(linear([[0.0, 0.0]]), ones) == -math.inf


def test_synflow_counts_what_passes_a_residual_branch():
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.branch = linear([[1.0, -2.0], [3.0, 4.0]])

        def forward(self, x):
            return x + self.branch(x)

    assert synflow(Residual(), torch.ones(1, 2)) == pytest.approx(math.log(10), rel=1e-12)


@pytest.fixture
def paths(toy_task):
    return path_network(SpikingTransformer(ARCHITECTURE, toy_task))


def stages(paths):
    return [paths.stem, *paths.blocks]


def flow(paths, **factors):
    """SynFlow with the weights of the layers whose names end so multiplied."""
    ones = torch.ones(1, *paths.task.input_shape)
    before = {name: weight.detach().clone() for name, weight in paths.named_parameters()}
    with torch.no_grad():
        for name, weight in paths.named_parameters():
            weight *= factors.get(name.split(".")[-2], 1.0)
        found = synflow(paths, ones, stages(paths))
        for name, weight in paths.named_parameters():
            weight.copy_(before[name])
    return found


def test_synflow_of_the_network_is_of_degree_one_in_each_layer_that_all_paths_pass(paths):
    assert flow(paths, conv1=2.0) == pytest.approx(flow(paths) + math.log(2), rel=1e-6)
    assert flow(paths, head=-8.0) == pytest.approx(flow(paths) + math.log(8), rel=1e-6)
    assert flow(paths, q=-1.0, fc1=-1.0, conv2=-1.0) == flow(paths)


def test_attention_is_one_layer_of_synflow(paths):
    assert flow(paths, q=2.0, k=2.0, v=2.0) != pytest.approx(flow(paths), rel=1e-3)
    assert flow(paths, q=2.0, k=2.0, v=2.0) == pytest.approx(flow(paths, proj=2.0), rel=1e-12)
    assert flow(paths, q=8.0) == pytest.approx(flow(paths, proj=2.0), rel=1e-12)


def test_synflow_is_exact_with_rescaling_and_does_not_overflow(paths):
    ones = torch.ones(1, *paths.task.input_shape)
    assert synflow(paths, ones, stages(paths)) == pytest.approx(synflow(paths, ones), rel=1e-12)
    with torch.no_grad():
        for name, weight in paths.named_parameters():  # nine layers in series
            weight *= 1e36 if name.split(".")[-2] in ("fc1", "fc2", "conv2", "conv3", "conv4") else 1.0
    assert math.isfinite(synflow(paths, ones, stages(paths)))
    assert not math.isfinite(synflow(paths, ones))


def test_synflow_knows_no_image_and_no_step(toy_task, paths):
    longer = path_network(SpikingTransformer(ARCHITECTURE, replace(toy_task, time_steps=7)))
    assert flow(longer) == flow(paths)


# --- Zen ---


def test_zen_by_hand():
    features = linear([[3.0, 0.0], [0.0, 4.0]])
    x = torch.tensor([[0.5, 1.0], [2.0, -1.0]])
    moved = zen(features, x, torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    assert moved == pytest.approx(math.log(0.01 * (3 + 4) / 2), rel=1e-4)
    assert zen(features, x, torch.zeros(2, 2)) == -math.inf


def test_zen_multiplies_back_what_normalisation_divides_by():
    features = nn.Sequential(linear([[3.0, 0.0], [0.0, 1.0]]), nn.BatchNorm1d(2, track_running_stats=False))
    x, noise = torch.tensor([[1.0, 1.0], [-1.0, -1.0]]), torch.tensor([[100.0, 0.0], [0.0, 0.0]])
    # Variances 9 and 1: their mean is 5. The first column becomes 3 (2, -1), deviation 4.5; both come out as -1 and 1.
    before = np.array([[3 / math.sqrt(9 + 1e-5)], [1 / math.sqrt(1 + 1e-5)]])
    after = np.array([[4.5 / math.sqrt(4.5**2 + 1e-5)], [1 / math.sqrt(1 + 1e-5)]])
    expected = math.log(np.linalg.norm(after - before)) + 0.5 * math.log(5 + 1e-5)
    assert zen(features, x, noise) == pytest.approx(expected, abs=0.15)  # a difference of 5e-7 in float32
    assert zen(features.double(), x.double(), noise.double()) == pytest.approx(expected, rel=1e-6)


def test_zen_does_not_see_the_scale_of_weights(toy_task, images):
    network = SpikingTransformer(ARCHITECTURE, toy_task)
    noise = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(5))
    found = []
    for factor in (1.0, 8.0):
        with torch.no_grad():
            for weight in network.parameters():
                if weight.dim() > 1:
                    weight *= factor
        features = Features(network)
        with batch_statistics(features):
            found.append(zen(features, images, noise))
    assert found[1] == pytest.approx(found[0], rel=1e-6)
    assert math.isfinite(found[0])


# --- all of them ---


def test_each_score_alone_is_what_it_is_among_all(toy_task, images):
    found = scores(toy_task, images)
    assert list(found) == list(GOALS)
    assert all(math.isfinite(value) for value in found.values())
    for name in GOALS:
        assert scores(toy_task, images, names=[name]) == {name: found[name]}


def test_counts_and_energy_are_the_candidates(toy_task, images):
    found = scores(toy_task, images, names=["energy_mj", "params", "flops"], seed=3)
    candidate = evaluate(ARCHITECTURE, InitialRates(toy_task, images, seed=3))
    assert found == {"energy_mj": candidate.energy_mj, "params": candidate.params, "flops": candidate.flops}


@pytest.mark.slow
def test_seeds_are_averaged_each_on_its_own_images(toy_task, images):
    rates = InitialRates(toy_task, images, seed=5, seeds=2, patterns=True)
    both = measure_scores(ARCHITECTURE, rates, LABELS, GOALS)
    parts = ((5, slice(0, 2)), (6, slice(2, 4)))
    halves = [scores(toy_task, images[part], LABELS[part], seed=seed) for seed, part in parts]
    for name, value in both.items():
        assert value == pytest.approx((halves[0][name] + halves[1][name]) / 2, rel=1e-12), name
        assert (halves[0][name] == halves[1][name]) == (GOALS[name].source == "counts"), name


def test_scores_leave_the_random_numbers_of_others_alone(toy_task, images):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    scores(toy_task, images)
    assert torch.equal(torch.rand(3), expected)


def test_only_the_energy_sees_the_convention(toy_task, images):
    for name in ("energy_mj", "total_spikes"):
        own, other = (
            scores(toy_task, images, names=[name], convention=convention)[name]
            for convention in (CONVENTIONS["horowitz-45nm-fp32"], CONVENTIONS["horowitz-45nm-int8"])
        )
        assert (own == other) == (name == "total_spikes")


def test_what_is_no_proxy_is_named(toy_task, images):
    with pytest.raises(ValueError, match="no proxy 'accuracy'; choose among params, flops"):
        scores(toy_task, images, names=["flops", "accuracy"])


def test_classes_of_other_tasks_are_refused_where_they_are_needed(toy_task, images):
    assert scores(toy_task, images, LABELS + 90, ["sahd", "synflow", "zen"])
    with pytest.raises(ValueError, match="class 99 of an image is not one of the 10 of task digits"):
        scores(toy_task, images, LABELS + 90, ["snip"])


def test_recordings_have_scores_too(toy_task):
    task = replace(toy_task, name="nmnist", channels=2, events=True)
    frames = torch.randint(0, 3, (4, 3, 2, 8, 8), generator=torch.Generator().manual_seed(0)).float()
    assert all(math.isfinite(value) for value in scores(task, frames, seed=1).values())
