"""Tests that every kind of part must pass. They run over KINDS, so they report what a new kind lacks.

To test a part of your own, add it to KINDS.
"""

import itertools
import math
from dataclasses import replace

import pytest
import torch
from spikingjelly.activation_based.op_counter import DispatchCounterMode, SynOpCounter
from torch.utils.flop_counter import FlopCounterMode

from autost_optuna import Architecture, Space, SpikingTransformer, Task
from autost_optuna.data import COUNTS
from autost_optuna.delivery import graphs, standalone
from autost_optuna.delivery.plots.audit import audit_view
from autost_optuna.delivery.plots.genes import genes_view
from autost_optuna.network.architecture import SIDE, table_of
from autost_optuna.network.chain import chain, ledger
from autost_optuna.network.form import POSITIONS, RESIDUALS, Form
from autost_optuna.network.genes import LABELS
from autost_optuna.network.neurons import kinds as neurons
from autost_optuna.network.neurons.module import NeuronModule
from autost_optuna.network.parts import genes_of
from autost_optuna.network.parts.embedding import entrance
from autost_optuna.network.parts.kinds import FEED_FORWARDS, HEADS, KINDS, MIXERS, STEMS
from autost_optuna.network.place import Place
from autost_optuna.network.rows import REAL, Operation, Population
from autost_optuna.network.styles import STAGED, STYLES
from autost_optuna.proxies.accumulates import measure_accumulates
from autost_optuna.proxies.gradients import path_network, synflow
from autost_optuna.proxies.proof import prove_ledger
from autost_optuna.proxies.rates import are_spikes, batch_statistics, measure_rates
from autost_optuna.proxies.reuse import InitialRates
from autost_optuna.search.describe import describe
from autost_optuna.search.exact import class_of, count_classes, representatives

TASK = Task(name="digits", image_size=8, channels=1, num_classes=10, time_steps=3, pooling="0101")
DIM = 16
VALUES = (2, 4, 3, 5, 7, 1)  # tried for every gene


def examples(kind):
    """Up to three mixers of a kind that can stand in a network of width DIM, with different genes."""
    found = []
    for values in itertools.product(VALUES, repeat=len(genes_of(kind))):
        try:
            part = kind(**dict(zip(genes_of(kind), values, strict=True)))
            part.after(Place(width=DIM, side=2, steps=3, still=False))
        except ValueError:
            continue
        found.append(part)
    assert found, f"no values of {VALUES} make a {kind.__name__}"
    return found[:3]


NEURONS = list(neurons.KINDS.values())
PARTS = [part for kind in MIXERS.values() for part in examples(kind)]


STAGES = {"depths": (1, 2)}
OWN = [stem for stem in STYLES if stem != "spikingresformer-events"]  # which only has smaller groups in wide networks
FORMS = [
    *(Form(stem=stem, residual=residual) for stem in OWN for residual in RESIDUALS),
    # From here on they are left out while you work.
    *(Form(stem=stem, residual=residual, **STAGES) for stem in OWN if stem in STAGED for residual in RESIDUALS),
    *(Form(stem="qkformer", pooling=pooling, **STAGES) for pooling in ("0001", "0111", "1111")),
    *(Form(stem="maxformer", pooling=pooling, **STAGES) for pooling in ("0001", "0111")),
    Form(stem="spikingresformer", pooling="0111", feed_forward="gffn", **STAGES),
    Form(stem="spikingresformer", residual="spike", feed_forward="gffn", depths=(1, 2), widths=(12, 16)),
    *(Form(stem=stem, position=position, convolutions=2) for stem in ("autost", "sdt") for position in POSITIONS),
    Form(stem="spikformer", convolutions=3, position="depthwise", residual="spike", time_steps=2),
    Form(stem="spikingformer", position="absent", residual="spike"),
    Form(time_steps=5, pooling="0011"),
]


def networks():
    """Each mixer first, last, and behind another one; each form with mixers that take turns, and so do kinds of neuron."""
    turns = itertools.cycle(NEURONS)
    for part in PARTS:
        mixers = (part, PARTS[0], part)
        yield Architecture(embed_dim=DIM, depth=3, mixer=mixers, mlp_ratio=(1, 2, 1.5), neuron=next(turns)())
    anywhere = itertools.cycle(part for part in PARTS if getattr(part, "patch", 1) == 1)
    for form in FORMS:
        if "0" * form.convolutions < TASK.pooling[: 4 - form.convolutions]:
            form = replace(form, pooling="0011")
        mixers = tuple(itertools.islice(anywhere, 3))
        yield Architecture(embed_dim=DIM, depth=3, mixer=mixers, mlp_ratio=(1, 2, 1.5), neuron=next(turns)(), form=form)


@pytest.fixture(params=PARTS, ids=repr)
def part(request):
    return request.param


USUAL = len(PARTS) + len(OWN) * len(RESIDUALS)
NETWORKS = [
    pytest.param(one, id=str(one), marks=[pytest.mark.slow] * (number >= USUAL))
    for number, one in enumerate(networks())
]


@pytest.fixture(params=NETWORKS)
def architecture(request):
    return request.param


@pytest.fixture
def network(architecture):
    return SpikingTransformer(architecture, TASK)


@pytest.fixture
def images():
    return torch.randn(4, *TASK.input_shape, generator=torch.Generator().manual_seed(0))


def test_words_and_names_are_its_own():
    assert {word: kind.word for word, kind in KINDS.items()} == dict(zip(KINDS, KINDS, strict=True))
    modules = [kind.name for kind in (*MIXERS.values(), *FEED_FORWARDS.values())]  # of a block
    assert len(set(modules)) == len(modules)
    labels = {label: gene for kind in KINDS.values() for gene, label in kind.labels.items()}
    assert len(set(labels.values())) == len(labels)


def test_its_rows_are_what_torch_counts_module_by_module(network, architecture, images):
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(images[:1])
    found = {name.partition(".")[2]: sum(each.values()) for name, each in counter.get_flop_counts().items()}
    rows = [row for row in ledger(architecture, TASK) if isinstance(row, Operation)]
    assert {row.name: 2 * row.total_macs for row in rows if row.macs} == {
        row.name: found.get(row.name, 0) for row in rows if row.macs
    }
    assert sum(2 * row.total_macs for row in rows) == counter.get_total_flops()


def test_its_rows_read_and_write_what_their_modules_do(network, architecture, images):
    rows = {row.name: row for row in ledger(architecture, TASK) if isinstance(row, Operation)}
    found = {}

    def look(name):
        def hook(module, inputs, output):
            read = [one.numel() // len(images) for one in inputs if isinstance(one, torch.Tensor)]
            found[name] = (sorted(read), output.numel() // len(images))

        return hook

    for name in rows:
        network.get_submodule(name).register_forward_hook(look(name))
    with torch.no_grad():
        network.train()(images)
    for name, row in rows.items():
        weight = getattr(network.get_submodule(name), "weight", None)
        assert weight is None or row.fan_in == weight[0].numel()
        if row.stage == "head":  # whose module takes means too
            assert row.sizes == (DIM, TASK.num_classes, 0, False)
            continue
        read = sorted(filter(None, (row.sizes.read, row.sizes.beside)))
        assert found[name] == ([each * row.steps for each in read], row.sizes.written * row.steps), name


def test_its_rows_hold_all_parameters_and_neurons(network, architecture, images):
    for at, part, _ in chain(architecture, TASK):
        rows, module = list(part.rows(at)), network.get_submodule(at.path)
        assert sum(row.params for row in rows) == sum(parameter.numel() for parameter in module.parameters())
        assert {row.stage for row in rows} <= {at.stage}
        assert all(row.name.startswith(at.path) and row.group for row in rows)
    seen = {}
    for name, module in network.named_modules():
        if isinstance(module, NeuronModule):
            module.register_forward_hook(lambda m, i, out, name=name: seen.update({name: out}))
    with torch.no_grad():
        network.train()(images)
    layers = [row for row in ledger(architecture, TASK) if isinstance(row, Population)]
    assert {name: out[:, 0].numel() for name, out in seen.items()} == {
        row.name: row.neurons * row.steps for row in layers
    }
    assert all(are_spikes(seen[row.name], row.most) for row in layers)


def test_its_drivers_are_proven(network):
    prove_ledger(network)


def placed():
    """Each kind of part with its examples, at a place of its slot, and the stream that it reads there."""
    draw = torch.Generator().manual_seed(0)
    grid, image = torch.randn(2, 5, 16, DIM, generator=draw), torch.randn(5, 1, 8, 8, generator=draw)
    inside, before = Place(width=DIM, side=4, steps=2, still=False), Place(width=1, side=8, steps=2, still=True)
    parts = [*PARTS, *(kind(mlp_ratio=ratio) for kind in FEED_FORWARDS.values() for ratio in (1, 2.5))]
    stems = [entrance(form, DIM, 0, "0101") for form in (FORMS[0], FORMS[2], Form(stem="maxformer"))]
    for part in (*parts, *stems, *(kind(classes=7) for kind in HEADS.values())):
        first, last = part.word in STEMS, part.word in HEADS
        at = (before if first else inside).entering(None if first or last else 1, part.name, "stem" if first else "")
        yield pytest.param(part, at, image if first else grid, id=repr(part))


PLACED = list(placed())


def test_every_kind_has_its_place_here():
    assert {type(one.values[0]) for one in PLACED} == set(KINDS.values())


@pytest.mark.parametrize(("part", "at", "stream"), PLACED)
def test_it_passes_the_stream_that_it_says(part, at, stream):
    module = part.module(at)
    module.initialise(0)
    after = part.after(at)
    with torch.no_grad():
        found = module.train()(stream).shape
    assert found == ((5, after.width) if part.word in HEADS else (2, 5, after.tokens, after.width))


@pytest.mark.parametrize(("part", "at", "stream"), PLACED)
def test_its_weights_depend_on_nothing_else(part, at, stream):
    """Parts with equal `weights` have equal weights, whatever else differs; another seed or block has others."""

    def state(at, part=part, seed=0):
        module = part.module(at)
        module.initialise(seed)
        return {name: value for name, value in module.state_dict().items() if value.dim() > 1}

    first = state(at)
    alike = [replace(at, side=8, steps=5), replace(at, neuron=NEURONS[-1](tau=3))]
    others = [] if at.block is None else [replace(at, block=2, stage="blocks.2")]
    for place in alike + others:
        equal = part.weights(place) == part.weights(at)
        assert equal == (place in alike) or not first
        found = state(place)
        assert all(torch.equal(first[name], found[name]) == equal for name in first)
    assert not any(torch.equal(first[name], value) for name, value in state(at, seed=1).items())
    for other in PARTS:
        if other.name == part.name and other.weights(at) == part.weights(at):
            assert all(torch.equal(first[name], value) for name, value in state(at, other).items())


@pytest.mark.parametrize("cache_bytes", [pytest.param(0, marks=pytest.mark.slow), 1 << 24])
def test_its_rates_are_reused_bit_for_bit(architecture, images, cache_bytes):
    rates = InitialRates(TASK, images, cache_bytes=cache_bytes)
    form = architecture.form
    fewer = replace(form, depths=(1, 1)) if form.depths else form
    shorter = Architecture(
        embed_dim=DIM, depth=2, mixer=architecture.mixers[:2], mlp_ratio=(1, 2), neuron=architecture.neuron, form=fewer
    )
    expected = {}
    for one in (shorter, architecture):
        network = SpikingTransformer(one, TASK)
        with batch_statistics(network):
            expected[one] = measure_rates(network, images)  # which demands spikes within their bounds
    for one in (shorter, architecture, shorter, architecture):
        assert rates.measure(one) == expected[one]


def test_spikes_reach_what_it_drives(architecture, images):
    (mean,) = InitialRates(TASK, images[:1]).measure(architecture)
    driven = [row for row in ledger(architecture, TASK) if isinstance(row, Operation) and row.driven_by != REAL]
    assert list(mean) == [row.name for row in driven]
    assert all(0 <= mean[row.name] <= row.most for row in driven)


def test_its_accumulates_are_what_spikingjelly_counts(network, architecture, images):
    """SpikingJelly books nothing where sums of spikes are read, unless none is above 1; masks count nothing in both."""
    counter = SynOpCounter()
    with batch_statistics(network):
        with torch.no_grad(), DispatchCounterMode([counter]):
            network(images)
        ours = measure_accumulates(network, images)
    theirs, total = counter.get_counts(), 0
    for row in ledger(architecture, TASK):
        if isinstance(row, Operation):
            found = sum(theirs.get(f"SpikingTransformer.{row.name}", {}).values())
            expected = sum(counts[row.name] for counts in ours) if row.driven_by != REAL else 0
            assert found == expected or (row.most > 1 and found == 0), row.name
            total += found
    assert sum(theirs["Global"].values()) == total


def test_gradients_flow_and_synflow_is_finite(network, images):
    ones = torch.ones(1, *TASK.input_shape)
    paths = path_network(network)
    assert math.isfinite(synflow(paths, ones, [paths.stem, *paths.blocks]))
    network.train()(images).square().sum().backward()
    assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []


def test_without_gradients_training_and_inference_agree(network, images):
    """The forms for training and for judging compute what the part itself does.

    The form for judging rounds differently, so a spike at the threshold may differ in one of the four images.
    """
    from autost_optuna.network.packed import packed

    with torch.no_grad():
        for _ in range(3):
            network.train()(images)
        plain = network.eval()(images)
        with torch.enable_grad():
            recorded = network(images)
        torch.testing.assert_close(recorded, plain)
        found = packed(network)(images)
        assert ((found - plain).abs() <= 1e-3).all(1).sum() >= 3, found - plain


def test_its_forms_lead_back_to_it(architecture):
    assert Architecture.from_text(architecture.to_text()) == architecture
    assert Architecture.from_dict(architecture.to_dict()) == architecture
    placed = [part for part in PARTS if SIDE % getattr(part, "patch", 1) == 0]
    others = [replace(architecture, num_heads=(), mixer=(PARTS[0], PARTS[0], other)) for other in placed]
    assert len({other.key for other in others}) == len({other.to_text() for other in others}) == len(placed)
    if architecture.is_autost:
        assert Architecture.from_autost(architecture.to_autost()) == architecture
    else:
        with pytest.raises(ValueError, match="is not a network of AutoST's form"):
            architecture.to_autost()


def test_a_space_offers_it_and_its_exact_front_has_every_class(part):
    genes = {gene: (getattr(part, gene),) for gene in genes_of(part)}
    mixer = tuple(dict.fromkeys((part.word, PARTS[0].word)))
    first = {gene: (getattr(PARTS[0], gene),) for gene in genes_of(PARTS[0])}
    data = {"embed_dim": [DIM], "depth": [1, 2], "mixer": mixer, "mlp_ratio": [1, 2], **first, **genes}
    space = Space.from_dict(data)
    assert Space.from_dict(space.to_dict()) == space
    every = list(space.enumerate())
    assert len(every) == space.size == len(set(every))
    assert all(one in space for one in every)
    chosen = list(representatives(space))
    assert {class_of(one) for one in chosen} == {class_of(one) for one in every}
    assert len(chosen) == count_classes(space) == len({class_of(one) for one in every})


def test_it_has_a_line_in_every_table_and_figure(architecture):
    part = architecture.mixers[0]
    description = describe(architecture, TASK)
    lines = [line for segment in audit_view(description).segments for line in segment.lines]
    for row in ledger(architecture, TASK):
        if isinstance(row, Operation):
            assert any(line.startswith(f"{row.name}:") for line in lines)
    table = table_of([architecture])
    labels = [axis.label for axis in genes_view("s", [replace(description.candidate, number=0)]).axes]
    for gene in genes_of(part):
        assert LABELS[gene] in table
        assert LABELS[gene] in labels
        assert str(getattr(part, gene)) in table[LABELS[gene]][0]
    words = architecture.in_words()
    assert not architecture.mixer or part.word in words
    assert set(description.candidate.to_dict()["architecture"]) == set(architecture.to_dict())


EVERY_MIXER = tuple(examples(kind)[0] for kind in MIXERS.values())
# Each mixer with each kind of stream; and two of them with every other embedding, feed-forward part and neuron.
PYRAMID_OF_SPIKES = Form(stem="spikingresformer", depths=(1, 1), feed_forward="gffn", residual="spike")
EXPORTED = [
    (Form(), EVERY_MIXER, NEURONS[0]),
    (Form(stem="qkformer", residual="spike", depths=(4, len(EVERY_MIXER) - 4)), EVERY_MIXER[::-1], NEURONS[0]),
    (Form(stem="maxformer", depths=(1, 1), feed_forward="gffn"), EVERY_MIXER[:2], NEURONS[0]),
    (Form(stem="sdt", position="depthwise"), EVERY_MIXER[:2], NEURONS[0]),
    *((PYRAMID_OF_SPIKES, EVERY_MIXER[:2], kind) for kind in NEURONS),
]


@pytest.mark.slow
@pytest.mark.parametrize(("form", "mixers", "neuron"), EXPORTED, ids=str)
def test_onnx_and_the_program_give_its_logits(form, mixers, neuron, images, tmp_path):
    architecture = Architecture(
        embed_dim=DIM, depth=len(mixers), mixer=mixers, mlp_ratio=(1,) * len(mixers), form=form, neuron=neuron()
    )
    network = SpikingTransformer(architecture, replace(TASK, time_steps=2))  # each step takes the exporter longer
    with torch.no_grad():
        for _ in range(3):
            network.train()(images)
    network.eval()
    model = graphs.make_onnx(network, images)
    parity = graphs.check_onnx(model, network, images, "noise")
    assert parity.max_difference_same_spikes < graphs.TOLERANCE
    if form == PYRAMID_OF_SPIKES:
        graphs.write_program(network, images, tmp_path / "model.pt2")
        assert torch.equal(torch.export.load(tmp_path / "model.pt2").module()(images), network(images))


def test_model_py_gives_its_logits(network, images, tmp_path):
    with torch.no_grad():
        for _ in range(3):
            network.train()(images)
        scope = {"__file__": str(tmp_path / "model.py"), "__name__": "model"}
        exec(standalone.write_model(network.architecture, TASK, COUNTS), scope)
        plain = scope["SpikingTransformer"]()
        plain.load_state_dict(network.state_dict())
        assert torch.equal(plain.eval()(images), network.eval()(images))
