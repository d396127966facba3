import pytest
import torch

from autost_optuna import Architecture, Candidate, SpikingTransformer, Task
from autost_optuna.data import Sample, rate_images
from autost_optuna.network.chain import operations
from autost_optuna.network.rows import REAL
from autost_optuna.proxies.energy import estimate_energy, mean_by_operation, mean_rate, total_mj
from autost_optuna.proxies.rates import batch_statistics, measure_rates
from autost_optuna.proxies.reuse import InitialRates
from autost_optuna.search.describe import describe
from autost_optuna.search.evaluate import SILENT_RATE, evaluate

CIFAR10 = Task.preset("cifar10")


def arch(embed_dim, heads, ratios):
    return Architecture(embed_dim=embed_dim, depth=len(heads), num_heads=heads, mlp_ratio=ratios)


def uniform(embed_dim, depth, mlp_ratio):
    return Architecture.uniform(embed_dim=embed_dim, depth=depth, num_heads=8, mlp_ratio=mlp_ratio)


@pytest.mark.parametrize(
    ("architecture", "low", "high"),
    [  # on random-normal images, T 4, 32x32, first convolution at every step
        (uniform(192, 1, 3), 0.46, 0.48),
        (uniform(256, 4, 4), 0.92, 0.97),
        (uniform(384, 4, 4), 2.06, 2.13),
        (uniform(512, 3, 3), 3.47, 3.55),
        (uniform(256, 8, 5), 1.10, 1.18),
    ],
    ids=lambda value: getattr(value, "key", None),
)
@pytest.mark.slow
def test_energy_at_initialisation_falls_in_the_published_ranges(noise, architecture, low, high):
    candidate = evaluate(architecture, InitialRates(CIFAR10, noise))
    assert low <= candidate.energy_mj <= high
    assert not candidate.silent


def test_rates_at_initialisation_are_alive_and_where_they_are_known_to_be(noise):
    rates = mean_by_operation(InitialRates(CIFAR10, noise).measure(uniform(384, 4, 4)))
    assert rates["stem.conv2"] == pytest.approx(0.07, abs=0.01)
    assert rates["stem.conv3"] == pytest.approx(0.046, abs=0.01)
    for block in range(4):
        assert rates[f"blocks.{block}.attention.q"] == pytest.approx(0.28, abs=0.03)
        assert rates[f"blocks.{block}.mlp.fc2"] == pytest.approx(0.03, abs=0.01)
        assert rates[f"blocks.{block}.attention.proj"] < 0.006


@pytest.fixture
def toy_images():
    return torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))


FAMILY = [
    arch(32, (4, 2, 4), (2, 1, 2)),
    arch(32, (4, 2), (2, 2)),
    arch(32, (4, 2, 2, 4), (2, 1, 2, 1)),
    arch(32, (2,), (2,)),
    arch(64, (4, 2, 4), (2, 1, 2)),
    arch(32, (4, 2, 4), (2, 1, 1.5)),
    arch(32, (4, 2, 4), (2, 1, 2)),
]


@pytest.mark.parametrize("bound", [1 << 30, 60_000, 1])
@pytest.mark.slow
def test_reuse_equals_a_fresh_evaluation_bit_for_bit(toy_task, toy_images, bound):
    shared = InitialRates(toy_task, toy_images, cache_bytes=bound)
    for architecture in FAMILY:
        fresh = InitialRates(toy_task, toy_images).measure(architecture)
        assert shared.measure(architecture) == fresh


@pytest.mark.slow
def test_reuse_equals_a_fresh_evaluation_bit_for_bit_at_full_size(noise):
    shared = InitialRates(CIFAR10, noise)
    for ratios in ((3, 4, 5), (3, 4, 3), (3, 5, 3)):
        architecture = arch(256, (4, 8, 4), ratios)
        assert shared.measure(architecture) == InitialRates(CIFAR10, noise).measure(architecture)


def test_the_cache_stays_within_its_bound(toy_task, toy_images):
    rates = InitialRates(toy_task, toy_images, cache_bytes=200_000)
    for heads in (2, 4):
        for ratio in (1, 2, 3):
            rates.measure(arch(32, (heads,) * 5, (ratio,) * 5))
            assert 0 < rates.cache_bytes <= 200_000


def test_rates_are_those_of_the_plain_network(noise):
    # The whole network in one piece, with torch's own products in float32.
    for architecture in (arch(128, (4, 8), (3, 4)), uniform(256, 2, 5)):
        network = SpikingTransformer(architecture, CIFAR10)
        with batch_statistics(network):
            plain = measure_rates(network, noise)
        assert InitialRates(CIFAR10, noise).measure(architecture) == plain


def test_a_rate_is_the_mean_of_the_spikes_that_enter_the_operation(toy_task, toy_images):
    architecture = arch(32, (4, 2), (2, 1))
    network = SpikingTransformer(architecture, toy_task)
    inputs = {}
    for name, module in network.named_modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            module.register_forward_pre_hook(lambda m, i, name=name: inputs.update({name: i[0].clone()}))
    with batch_statistics(network), torch.no_grad():
        network(toy_images)
        by_image = measure_rates(network, toy_images)
    rates = mean_by_operation(by_image)
    for row in operations(architecture, toy_task):
        if row.driven_by != REAL and row.name in inputs:
            assert set(inputs[row.name].unique().tolist()) <= {0.0, 1.0}, row.name
            spikes = inputs[row.name].double()
            assert rates[row.name] == pytest.approx(spikes.mean().item(), abs=1e-15)
            steps = spikes.unflatten(0, (-1, 4)) if row.stage == "stem" else spikes
            for image, single in enumerate(by_image):
                assert single[row.name] == pytest.approx(steps[:, image].mean().item(), abs=1e-15)
        elif row.driven_by == REAL:
            assert row.name not in rates
    assert set(rates) == {row.name for row in operations(architecture, toy_task) if row.driven_by != REAL}


def test_products_are_measured_on_their_drivers(toy_task, toy_images):
    architecture = arch(32, (4,), (2,))
    network = SpikingTransformer(architecture, toy_task)
    spikes = {}
    for name in ("q_neuron", "v_neuron"):
        network.blocks[0].attention.get_submodule(name).register_forward_hook(
            lambda m, i, out, name=name: spikes.update({name: out.double().mean().item()})
        )
    with batch_statistics(network):
        rates = mean_by_operation(measure_rates(network, toy_images))
    assert rates["blocks.0.attention.qk"] == pytest.approx(spikes["q_neuron"], abs=1e-15)
    assert rates["blocks.0.attention.av"] == pytest.approx(spikes["v_neuron"], abs=1e-15)


def test_measuring_leaves_no_trace(toy_task, toy_images):
    network = SpikingTransformer(arch(32, (4,), (2,)), toy_task).eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with batch_statistics(network):
        measure_rates(network, toy_images)
    assert not any(module.training for module in network.modules())
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert not any(module._forward_pre_hooks for module in network.modules())


def test_an_untrained_network_in_eval_mode_is_silent(noise):
    network = SpikingTransformer(uniform(192, 1, 3), CIFAR10).eval()
    ledger = operations(network.architecture, CIFAR10)
    assert mean_rate(estimate_energy(ledger, mean_by_operation(measure_rates(network, noise)))) < SILENT_RATE / 5


def test_blank_images_make_a_network_silent_and_it_is_said():
    candidate = evaluate(uniform(192, 1, 3), InitialRates(CIFAR10, torch.zeros(2, 3, 32, 32)))
    assert candidate.silent
    assert candidate.mean_rate < SILENT_RATE / 5


def test_digits_rank_architectures_as_noise_does(noise):
    digits = InitialRates(CIFAR10, rate_images(CIFAR10).images)
    other = InitialRates(CIFAR10, noise)
    for architecture in (uniform(192, 1, 3), uniform(192, 4, 3), uniform(256, 1, 3)):
        one, two = evaluate(architecture, digits).energy_mj, evaluate(architecture, other).energy_mj
        assert one == pytest.approx(two, rel=0.06)


@pytest.mark.parametrize("shape", [(0, 3, 32, 32), (2, 1, 32, 32), (2, 3, 8, 8), (3, 32, 32)])
def test_images_of_another_form_are_refused(shape):
    with pytest.raises(ValueError, match="do not fit task cifar10"):
        InitialRates(CIFAR10, torch.zeros(shape))


def test_still_images_and_recordings_of_other_steps_are_refused_by_an_events_task():
    for shape in ((2, 2, 34, 34), (2, 4, 2, 34, 34)):
        with pytest.raises(ValueError, match=r"give \[B, 10, 2, 34, 34\]"):
            InitialRates(Task.preset("nmnist"), torch.zeros(shape))


def test_rates_on_recordings_are_alive_and_depend_on_the_order_of_their_frames():
    task = Task.preset("nmnist")
    recordings = rate_images(task, Sample(data="digits-saccades")).images
    candidate = evaluate(uniform(192, 1, 3), InitialRates(task, recordings))
    assert not candidate.silent
    assert candidate.energy_mj == pytest.approx(1.39, abs=0.02)
    one, again, back = (
        InitialRates(task, frames).measure(uniform(64, 1, 2))
        for frames in (recordings, recordings.clone(), recordings.flip(1))
    )
    assert one == again
    assert all(
        mean_by_operation(one)[name] != mean_by_operation(back)[name]
        for name in one[0]
        if not name.endswith("attention.proj")
    )


def test_a_description_adds_up_to_the_last_digit():
    found = describe(uniform(64, 2, 3), Task.preset("digits"))
    assert total_mj(found.charges) == total_mj(found.charges[::-1]) == found.candidate.energy_mj == found.rate_mj
    assert sum(charge.macs * charge.steps for charge in found.charges) == found.candidate.macs


def test_a_description_is_the_searchs_candidate():
    # The audit runs the plain network with all its proofs, the search the fast way: the same figures, bit for bit.
    task = Task.preset("digits")
    images = rate_images(task, Sample(data="digits", images=6, seed=5)).images
    candidate = evaluate(uniform(64, 2, 3), InitialRates(task, images, seed=5, seeds=2), data="digits")
    assert describe(uniform(64, 2, 3), task, Sample(images=3, seed=5, seeds=2)).candidate == candidate


def test_seeds_with_their_images_make_a_table_whose_mean_is_the_energy(toy_task):
    architecture = arch(32, (4, 2), (2, 1))
    images = torch.randn(12, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    candidate = evaluate(architecture, InitialRates(toy_task, images, seed=3, seeds=3))
    assert [len(row) for row in candidate.energies_mj] == [4, 4, 4]
    for row, seed, batch in zip(candidate.energies_mj, (3, 4, 5), images.chunk(3), strict=True):
        single = evaluate(architecture, InitialRates(toy_task, batch, seed=seed))
        assert single.energies_mj == (row,)
        assert single.spread.error_mj is None
    values = [value for row in candidate.energies_mj for value in row]
    assert candidate.energy_mj == pytest.approx(sum(values) / 12, rel=1e-12)
    assert (candidate.spread.low_mj, candidate.spread.high_mj) == (min(values), max(values))
    assert candidate.spread.std_mj == pytest.approx(torch.tensor(values, dtype=torch.float64).std().item())
    means = torch.tensor(candidate.energies_mj, dtype=torch.float64).mean(1)
    assert candidate.spread.std_over_seeds_mj == pytest.approx(means.std().item())
    assert candidate.spread.error_mj == pytest.approx(means.std().item() / 3**0.5)
    assert len(set(values)) == 12
    assert Candidate.from_dict(candidate.to_dict()) == candidate


def test_no_seed_is_refused(toy_task, toy_images):
    with pytest.raises(ValueError, match="seeds 0"):
        InitialRates(toy_task, toy_images, seeds=0)
    with pytest.raises(ValueError, match="4 images cannot be split among 3 seeds"):
        InitialRates(toy_task, toy_images, seeds=3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="the rates of a GPU need one, and there is none here")
def test_a_gpu_gives_the_same_rates_within_float_tolerance(noise):
    for architecture in (uniform(192, 2, 3), arch(256, (4, 8, 8), (3, 4, 5))):
        here = mean_by_operation(InitialRates(CIFAR10, noise).measure(architecture))
        there = mean_by_operation(InitialRates(CIFAR10, noise.to("cuda")).measure(architecture))
        for name, rate in here.items():
            assert there[name] == pytest.approx(rate, rel=1e-3, abs=2e-5), name
