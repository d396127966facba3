"""The audit of any network, against SpikingJelly's and torch's counters as independent oracles."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from spikingjelly.activation_based import functional, layer, neuron
from spikingjelly.activation_based.model.maxformer import MaxFormer
from spikingjelly.activation_based.model.qkformer import QKFormer
from spikingjelly.activation_based.model.spike_driven_transformer import SpikeDrivenTransformer
from spikingjelly.activation_based.model.spikformer import Spikformer
from spikingjelly.activation_based.op_counter import DispatchCounterMode, SynOpCounter
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from autost_optuna import Architecture, SpikingTransformer, Task, units
from autost_optuna.network.chain import operations
from autost_optuna.network.form import Form
from autost_optuna.network.parts.kinds import MIXERS
from autost_optuna.proxies.accumulates import measure_accumulates
from autost_optuna.proxies.audit import audit
from autost_optuna.proxies.convention import CONVENTIONS
from autost_optuna.proxies.energy import estimate_mj, mean_by_operation
from autost_optuna.proxies.products import multiplies


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def spikes(*shape, share=0.3, seed=0):
    return (torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) < share).float()


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def oracles(network, *inputs):
    """What SpikingJelly counts as accumulates and torch as MACs."""
    counter = SynOpCounter()
    with torch.no_grad(), DispatchCounterMode([counter]):
        network(*inputs)
    functional.reset_net(network)
    with torch.no_grad(), FlopCounterMode(display=False) as flops:
        network(*inputs)
    functional.reset_net(network)
    return counter.get_total(), flops.get_total_flops() / 2


def total(found):
    return sum(row.accumulates or 0 for row in found.rows) * found.images


MODELS = {
    "spikformer": lambda: Spikformer(
        T=2, img_size_h=16, img_size_w=16, patch_size=4, num_classes=10, embed_dims=32, num_heads=2, depths=1
    ),
    "sdt": lambda: SpikeDrivenTransformer(
        T=2, num_classes=10, embed_dims=32, num_heads=2, depths=1, pooling_stat="0011"
    ),
    "qkformer": lambda: QKFormer(T=2, num_classes=10, embed_dims=32, num_heads=(1, 2, 2), depths=(1, 1, 1)),
    "maxformer": lambda: MaxFormer(T=2, num_classes=10, embed_dims=64, depths=(1, 1, 2), cifar=True),
}


class Step(nn.Module):
    """A network that loops over its time steps itself."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.neuron = neuron.LIFNode()
        self.head = nn.Linear(4 * 36, 5)

    def forward(self, x):
        return sum(self.head(self.neuron(self.conv(x)).flatten(1)) for _ in range(3))


class Attention(nn.Module):
    def forward(self, q, k, v):
        return q @ k.transpose(-2, -1) @ v


def test_spikes_of_a_loop_are_one_row():
    torch.manual_seed(0)
    network, x = Step(), 3 * noise(2, 1, 6, 6)
    found = audit(network, x)
    conv, head = found.rows
    assert (conv.module, conv.kind, conv.calls, conv.driven_by) == ("conv", "mac", 3, ())
    assert conv.reason == "the left operand is real-valued"
    assert (head.module, head.kind, head.calls, head.driven_by) == ("head", "ac", 3, ("neuron",))
    accumulates, macs = oracles(network, x)
    assert (total(found), sum(row.macs for row in found.rows) * 2) == (accumulates, macs)
    assert head.accumulates == pytest.approx(head.rate * head.macs, rel=1e-12)
    assert found.energy_mj == pytest.approx((4.6 * conv.macs + 0.9 * head.accumulates) * 1e-9, rel=1e-12)
    assert audit(network, x) == found  # the neurons are reset
    header, first, second, said = str(found).splitlines()
    assert header.split() == [
        "module",
        "operation",
        "calls",
        "MACs",
        "rate",
        "accumulates",
        "kind",
        "pJ",
        "share",
        "why",
    ]
    assert first.split()[:5] == ["conv", "convolution", "3", f"{conv.macs:,.0f}", "MAC"]
    assert second.endswith("the left operand is spikes")
    assert said.startswith(
        f"{units.energy(found.energy_mj)} per image under horowitz-45nm-fp32, 2 images; not charged: "
    )
    assert header.split()[0] in found._repr_html_()
    assert json.loads(json.dumps(found.to_dict()))["energy_mj"] == found.energy_mj


CONVOLUTIONS = [
    (nn.Conv1d(2, 4, 3, padding=1, stride=2), (3, 2, 9)),
    (nn.Conv2d(2, 4, 3, padding=1), (3, 2, 6, 5)),
    (nn.Conv2d(4, 6, (3, 2), padding=(2, 0), stride=(1, 2), dilation=(2, 1), groups=2), (2, 4, 7, 8)),
    (nn.Conv2d(3, 3, 5, padding=2, groups=3), (2, 3, 6, 6)),
    (nn.Conv3d(2, 3, 3, padding=1, stride=2), (2, 2, 5, 5, 5)),
    (nn.ConvTranspose2d(4, 2, 3, padding=1, stride=2, output_padding=1), (2, 4, 5, 4)),
    (nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2, dilation=2), (2, 4, 5, 4)),
    (nn.Linear(7, 5), (3, 4, 7)),
    (nn.Linear(7, 5, bias=False), (3, 7)),
]


@pytest.mark.parametrize(("module", "shape"), CONVOLUTIONS, ids=lambda value: str(value))
def test_layers_are_counted_as_spikingjelly_and_torch_count_them(module, shape):
    network, x = nn.Sequential(module), spikes(*shape)
    accumulates, macs = oracles(network, x)
    found = audit(network, x)
    (row,) = found.rows
    assert (row.module, row.kind, row.reason) == ("0", "ac", "the left operand is spikes")
    assert (total(found), row.macs * found.images) == (accumulates, macs)
    numbers = audit(network, 3 * x)  # as many accumulates as spikes: a sum of three drives thrice
    assert (numbers.rows[0].most, total(numbers)) == (3, 3 * accumulates)


def test_weights_never_drive_whatever_their_values():
    network = nn.Sequential(nn.Linear(6, 4, bias=False))
    with torch.no_grad():
        network[0].weight.copy_(spikes(4, 6))
    x = spikes(2, 6, seed=1)
    (row,) = audit(network, x).rows
    assert row.accumulates * 2 == 4 * x.sum()  # not only where both are 1
    (row,) = audit(network, torch.randn(2, 6)).rows
    assert (row.kind, row.accumulates, row.reason) == ("mac", None, "the left operand is real-valued")

    class Folded(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight, self.gain = nn.Parameter(spikes(6, 4)), nn.Parameter(torch.ones(4))

        def forward(self, x):
            return x @ (self.weight * self.gain.round())

    (row,) = audit(Folded(), torch.randn(2, 6)).rows
    assert row.kind == "mac"


def test_two_products_of_one_line_are_two_rows():
    q, k, v = (spikes(2, 5, 4, seed=seed) for seed in range(3))
    found = audit(Attention(), (q, k, v))
    first, second = found.rows
    assert first.reason == "both operands are spikes"
    assert first.accumulates * 2 == (q @ k.transpose(-2, -1)).sum()
    assert second.reason == "the right operand is spikes"  # the left one counts them
    assert second.accumulates * 2 == 5 * v.sum()
    sums = q @ k.transpose(-2, -1)
    (row,) = audit(nn.Linear(5, 3), sums).rows
    assert (row.most, row.reason) == (sums.max(), f"the left operand is a sum of up to {int(sums.max())} spikes")
    assert row.accumulates * 2 == 3 * sums.sum()
    (by_macs,) = audit(nn.Linear(5, 3), sums, CONVENTIONS["integers-mac"]).rows
    assert (by_macs.kind, by_macs.energy_pj) == ("mac", pytest.approx(4.6 * by_macs.macs))
    assert by_macs.reason.endswith("spikes, which the convention charges as MACs")


def test_attention_of_torch_is_two_rows():
    class Torch(nn.Module):
        def forward(self, q, k, v):
            return F.scaled_dot_product_attention(q, k, v)

    q, k, v = (spikes(2, 3, 5, 4, seed=seed) for seed in range(3))
    first, second = audit(Torch(), (q, k, v)).rows
    assert (first.macs, second.macs) == (300, 300)
    assert first.accumulates * 2 == torch.einsum("bhqd,bhkd->", q, k)
    assert (second.reason, second.accumulates * 2) == ("the right operand is spikes", 5 * v.sum())


def test_folded_normalisation_changes_nothing():
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(8)
    with torch.no_grad():
        for one in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
            one.copy_(torch.rand(8) + 0.5)
    layers = nn.Conv2d(3, 8, 3, padding=1), norm, neuron.LIFNode(v_threshold=0.5), nn.Flatten(), nn.Linear(512, 10)
    plain = nn.Sequential(*layers).eval()
    folded = nn.Sequential(torch.nn.utils.fusion.fuse_conv_bn_eval(*plain[:2]), nn.Identity(), *layers[2:]).eval()
    one, other = (audit(network, noise(5, 3, 8, 8)) for network in (plain, folded))
    assert one.rows[1].accumulates > 0
    alike = [[replace(row, line="") for row in found.rows] for found in (one, other)]
    assert alike[0] == alike[1]
    assert "normalisation" in one.uncharged
    assert "normalisation" not in other.uncharged


def test_bilinear_layers_are_two_rows():
    layer = nn.Bilinear(3, 4, 5)
    x, y = spikes(7, 2, 3), spikes(7, 2, 4, seed=1)
    for left, right in ((x, y), (x, noise(7, 2, 4)), (noise(7, 2, 3), y)):
        first, second = audit(layer, (left, right)).rows
        assert (first.macs, second.macs) == (2 * 3 * 4 * 5, 2 * 4 * 5)
        assert first.accumulates is None if left is not x else first.accumulates * 7 == 4 * 5 * x.sum()
        assert second.accumulates is None if right is not y else second.accumulates * 7 == 5 * y.sum()


def test_silence_is_spikes_only_behind_a_known_neuron():
    class Silent(nn.Module):
        def __init__(self, middle):
            super().__init__()
            self.middle, self.head = middle, nn.Linear(4, 3)

        def forward(self, x):
            return self.head(self.middle(x))

    x = torch.zeros(2, 4)
    (row,) = audit(Silent(neuron.IFNode()), x).rows
    assert (row.kind, row.accumulates, row.driven_by) == ("ac", 0, ("middle",))
    (row,) = audit(Silent(nn.ReLU()), x).rows
    assert (row.kind, row.reason) == ("mac", "the left operand is 0 throughout, and no known neuron sent it")


def test_what_cannot_be_judged_is_refused_by_name():
    class Distances(nn.Module):
        def forward(self, x):
            return torch.cdist(x, x)

    class Deep(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = Distances()

        def forward(self, x):
            return self.inner(x)

    with pytest.raises(RuntimeError, match="no rule counts _cdist_forward in inner; its energy cannot be stated"):
        audit(Deep(), torch.randn(2, 3))
    with pytest.raises(ValueError, match="static-once charges the first convolution of a still image once"):
        audit(nn.Linear(3, 4), torch.randn(2, 3), CONVENTIONS["static-once"])


@pytest.mark.parametrize("kind", MODELS)
def test_spikingjellys_transformers_are_counted_as_it_counts_them(kind):
    torch.manual_seed(0)
    network = MODELS[kind]().train()  # with the statistics of the batch, so that deep layers fire
    functional.set_step_mode(network, "m")
    x = noise(2, 3, 16, 16)
    accumulates, macs = oracles(network, x)
    found = audit(network, x)
    assert accumulates > 0
    single = sum(row.accumulates * found.images for row in found.rows if row.most == 1)  # it knows no sums of spikes
    assert (single, sum(row.macs for row in found.rows) * 2) == (accumulates, macs)
    assert found.uncharged["normalisation"] > 0


FORMS = [
    (Form(), (MIXERS["ssa"](num_heads=2), MIXERS["ssa"](num_heads=4))),
    (Form(stem="spikformer", residual="spike"), (MIXERS["ssa"](num_heads=2), MIXERS["sdsa"]())),
    (Form(stem="qkformer", residual="spike", depths=(1, 1)), (MIXERS["qkta"](num_heads=2), MIXERS["qkca"]())),
    (Form(stem="maxformer", depths=(1, 1), feed_forward="gffn"), (MIXERS["depthwise"](kernel=3), MIXERS["identity"]())),
    (
        Form(stem="spikingresformer", residual="spike", depths=(1, 1)),
        (MIXERS["dssa"](num_heads=2, patch=2), MIXERS["ssa"](num_heads=2)),
    ),
]


@pytest.mark.parametrize(("form", "mixers"), FORMS, ids=lambda value: getattr(value, "stem", ""))
def test_our_networks_cost_what_their_ledger_says(form, mixers):
    task = Task(name="digits", image_size=8, channels=1, num_classes=10, time_steps=3, pooling="0101")
    architecture = Architecture(embed_dim=16, depth=2, mixer=mixers, mlp_ratio=(1, 2), form=form)
    network, x = SpikingTransformer(architecture, task), noise(3, 1, 8, 8)
    network.train()  # by the statistics of the batch, so that it fires
    counted = measure_accumulates(network, x)
    found = audit(network, x)
    rows = {row.module: row for row in found.rows}
    ledger = operations(architecture, task)
    assert {row.name: row.total_macs for row in ledger} == {name: row.macs for name, row in rows.items()}
    sums = {name: sum(one[name] for one in counted) for name in counted[0]}
    assert sum(value > 0 for value in sums.values()) > len(sums) / 2
    assert {name: round(row.accumulates * 3) for name, row in rows.items() if row.kind == "ac"} == sums
    exact = mean_by_operation(counted)
    energy = estimate_mj(ledger, dict.fromkeys(exact, 0.0), accumulates=exact)
    assert found.energy_mj == pytest.approx(energy, rel=1e-15)


def test_layers_of_spikingjelly_with_steps_are_their_sequence():
    network = nn.Sequential(
        layer.Conv2d(1, 4, 3, padding=1, step_mode="m"),
        layer.BatchNorm2d(4, step_mode="m"),
        neuron.LIFNode(step_mode="m"),
        layer.MaxPool2d(2, step_mode="m"),
        layer.Flatten(step_mode="m"),
        layer.Linear(36, 3, step_mode="m"),
    )
    torch.manual_seed(0)
    x = 3 * noise(4, 2, 1, 6, 6)  # time first
    accumulates, macs = oracles(network, x)
    found = audit(network, x, images=2)
    assert (total(found), sum(row.macs for row in found.rows) * 2) == (accumulates, macs)
    assert found.rows[1].driven_by == ("2",)
    assert found.uncharged["pooling"] * 2 == 4 * 2 * 36


def test_neurons_of_snntorch_are_known_and_reset():
    snntorch = pytest.importorskip("snntorch")

    class Steps(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(
                nn.Linear(20, 10),
                snntorch.Leaky(beta=0.9, init_hidden=True),
                nn.Linear(10, 5),
                snntorch.Leaky(beta=0.9),
            )

        def forward(self, x):
            return [self.net[:3](x) for _ in range(3)]

    torch.manual_seed(0)
    network, x = Steps(), 3 * torch.rand(2, 20)
    found = audit(network, x)
    first, second = found.rows
    assert (first.kind, second.kind, second.driven_by) == ("mac", "ac", ("net.1",))
    assert 0 < second.accumulates == second.rate * second.macs
    assert audit(network, x).rows == found.rows


class Calls(nn.Module):
    """A network of one function, with a layer of neurons, binary weights and a head."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.neuron, self.head = neuron.IFNode(), nn.Linear(4, 3)
        self.weight = nn.Parameter(spikes(4, 4, seed=7))
        self.plain = spikes(4, 4, seed=8)
        self.register_buffer("kept", torch.zeros(5, 4))

    def forward(self, *inputs):
        return self.function(self, *inputs)


def judged(function, *inputs, **options):
    return [
        (row.kind, row.reason, row.driven_by)
        for row in audit(Calls(function), inputs or (3 * torch.rand(5, 4),), **options).rows
    ]


def filled(net, x):
    kept = torch.zeros(2, 5, 4)
    for step in range(2):
        kept[step] = net.neuron(x)
    return net.head(kept)


def written(net, x):
    net.kept[:] = net.neuron(x)
    return net.head(net.kept)


def viewed(net, x):
    kept = torch.zeros(5, 4)
    view = kept[:]
    kept.copy_(net.neuron(x))
    return net.head(view)


SPIKES = ("ac", "the left operand is spikes", ("neuron",))


@pytest.mark.parametrize("function", [filled, written, viewed], ids=lambda function: function.__name__)
def test_spikes_that_are_gathered_drive(function):
    assert judged(function) == [SPIKES]


@pytest.mark.parametrize(
    "function",
    [
        lambda net, x: torch.tensor([[0.0, 1, 0, 1, 1]]) @ (x + 0.1),
        lambda net, x: x.new_ones(5, 5).tril() @ (x + 0.1),
        lambda net, x: (x + 0.1) @ net.plain,
        lambda net, x: (torch.zeros_like(net.weight) + net.weight.round()) @ (x.t() + 0.1),
        lambda net, x: (x + 0.1) @ x.new_zeros(4, 4).copy_(net.weight),
        lambda net, x: torch.mv(x + 0.1, net.weight[0].round() * 1.0),
        lambda net, x: net.head(torch.relu(net.neuron(x) - 2)),  # zeros, but not those of a silent neuron
        lambda net, x: net.head(0.0 * net.neuron(x)),
        lambda net, x: F.scaled_dot_product_attention(x[None] + 0.1, net.weight.round()[None], x[None, :4] + 0.1),
    ],
)
def test_constants_never_drive(function):
    assert {kind for kind, *_ in judged(function)} == {"mac"}


def test_silent_neurons_are_known_behind_views():
    silent = torch.zeros(5, 4)
    assert judged(lambda net, x: torch.mv(net.neuron(x), net.weight[0]), silent) == [SPIKES]
    assert judged(lambda net, x: torch.mv(net.weight, net.neuron(x)[0]), silent) == [
        ("ac", "the right operand is spikes", ("neuron",))
    ]


def test_one_line_with_other_weights_or_other_operands_is_another_row():
    def cell(net, x):
        product = lambda one, other: one @ other  # noqa: E731
        return product(product((x > 1).float(), net.weight) + 0.3, net.weight)

    assert [kind for kind, *_ in judged(cell)] == ["ac", "mac"]
    first = nn.Parameter(torch.rand(5, 4))

    def loop(net, x):
        state = first
        for _ in range(3):
            state = net.neuron(state @ net.weight + x)
        return state

    rows = audit(Calls(loop), 3 * torch.rand(5, 4), images=5).rows
    assert [(row.kind, row.calls) for row in rows] == [("mac", 1), ("ac", 2)]
    assert rows[1].accumulates == pytest.approx(rows[1].rate * rows[1].macs)
    cell = audit(nn.RNNCell(4, 3), (spikes(2, 4), torch.rand(2, 3)))
    assert sorted(row.kind for row in cell.rows) == ["ac", "mac"]


@pytest.mark.parametrize(
    "network",
    [
        nn.Conv1d(4, 5, 3, padding=1),
        nn.Sequential(nn.Conv2d(4, 5, 3, padding="same"), nn.Flatten(), nn.Linear(80, 3)),
        nn.GRU(4, 5),
        nn.RNN(4, 5),
        Calls(lambda net, x: torch.einsum("bcn,cd->bdn", x, net.weight)),
        Calls(lambda net, x: torch.zeros(4, 4).addmm_(x[0, :, :4].t().contiguous(), net.weight)),
    ],
    ids=lambda network: type(network).__name__,
)
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_no_product_is_left_out(network, mode):
    shape = (2, 4, 4, 4) if isinstance(network, nn.Sequential) else (2, 4, 4)
    x = spikes(*shape)
    with mode():
        found = audit(network, x)
    with torch.no_grad(), FlopCounterMode(display=False) as flops:
        network(x)
    assert sum(row.macs for row in found.rows) * 2 == (flops.get_total_flops() / 2 or 64)  # torch counts no addmm_


def test_layers_that_torch_runs_as_one_operation_are_taken_apart():
    x = spikes(2, 5, 8)
    lstm = audit(nn.LSTM(8, 3, batch_first=True), x)
    assert sum(row.macs for row in lstm.rows) * 2 == 2 * 5 * 12 * (8 + 3)
    attention = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    macs = sum(row.macs for row in audit(attention, x).rows) * 2
    assert macs == 2 * 5 * (4 * 8 * 8 + 2 * 8 * 16) + 2 * 2 * (2 * 5 * 5 * 4)
    shared = audit(
        Calls(lambda net, q, k, v: F.scaled_dot_product_attention(q, k, v, enable_gqa=True)),
        (spikes(2, 4, 5, 4), spikes(2, 2, 5, 4), spikes(2, 2, 5, 4)),
    )
    assert sum(row.macs for row in shared.rows) == 2 * 4 * 5 * 5 * 4
    assert [row.reason for row in shared.rows] == ["both operands are spikes", "the right operand is spikes"]


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda net, x: torch.vdot(x[0], net.weight[0]), "no rule counts vdot in the network itself"),
        (lambda net, x: torch.linalg.solve(net.weight + torch.eye(4), x.t()), "no rule counts .*linalg.*"),
        (lambda net, x: torch.addr(net.weight, x[0], x[1]), "no rule counts addr"),
        (
            lambda net, x: F.conv1d(x[None], (x[None, :4] > 1).float().transpose(0, 1)[:, :, :1].expand(4, 5, 1)),
            "weights of a conv",
        ),
        (lambda net, x: torch.fft.fft(x), "no rule counts _fft"),
        (lambda net, x: [*ThreadPoolExecutor(1).map(net.head, [x])], "head runs in a thread of its own"),
    ],
)
def test_what_has_no_rule_is_refused(function, said):
    network = Calls(function)
    with pytest.raises(RuntimeError, match=said):
        audit(network, 3 * torch.rand(5, 4))
    assert not network.head._forward_hooks
    assert not network.head._forward_pre_hooks


def test_every_operation_of_torch_that_multiplies_has_a_rule_or_is_refused():
    names = {
        name.removeprefix("aten::").partition(".")[0]
        for name in torch._C._dispatch_get_all_op_names()
        if "aten::" in name
    }
    known = {name for name in names if multiplies(name.removesuffix("_"))}
    assert {
        "mm",
        "linear",
        "lstm",
        "conv2d",
        "_trilinear",
        "linalg_solve",
        "dot",
        "cudnn_convolution",
        "_int_mm",
    } <= known
    assert {
        "mkldnn_rnn_layer",
        "_native_multi_head_attention",
        "_sparse_addmm",
        "embedding_bag",
        "_cdist_forward",
    } <= known
    assert not known & {"add", "mul", "batch_norm", "max_pool2d", "upsample_linear1d", "relu", "stack", "_log_softmax"}


def test_a_network_that_fails_leaves_nothing_behind():
    def fail(net, x):
        net.neuron(x)
        raise ZeroDivisionError

    network = Calls(fail)
    with pytest.raises(ZeroDivisionError):
        audit(network, 3 * torch.rand(5, 4))
    assert not network.neuron._forward_hooks
    assert network.neuron.v == 0.0
    fast = torch.backends.mha.get_fastpath_enabled()
    for inputs in (torch.rand(0, 4), torch.tensor(3.0)):
        with pytest.raises(ValueError, match="the first input is no batch; give images"):
            audit(nn.Linear(4, 3), inputs)
    assert torch.backends.mha.get_fastpath_enabled() == fast
    nested = audit(nn.LSTM(4, 3), (spikes(2, 5, 4), (torch.zeros(1, 5, 3), torch.zeros(1, 5, 3))))
    assert nested.rows


@pytest.mark.parametrize("kind", [neuron.PSN, neuron.GatedLIFNode, neuron.SlidingPSN])
def test_other_neurons_are_known_too(kind):
    node = {
        neuron.PSN: lambda: neuron.PSN(T=2),
        neuron.SlidingPSN: lambda: neuron.SlidingPSN(k=2, step_mode="m"),
        neuron.GatedLIFNode: lambda: neuron.GatedLIFNode(T=2, step_mode="m"),
    }[kind]()
    network = nn.Sequential(node, nn.Linear(4, 3))
    head = audit(network, torch.full((2, 5, 4), -9.0), images=5).rows[-1]
    assert (head.module, head.kind, head.driven_by) == ("1", "ac", ("0",))


def test_parts_of_one_tensor_are_looked_at_apart():
    def parts(net, x):
        mixed = torch.cat([net.neuron(x), x + 0.1], 1)  # [5, 8]: spikes, then real values
        return mixed[:, :4] @ net.weight, mixed[:, 4:] @ net.weight, mixed.view(4, 10)[:, :5].t() @ net.weight

    assert [kind for kind, *_ in judged(parts)] == ["ac", "mac", "mac"]

    def changed(net, x):
        kept = net.neuron(x).clone()
        first = kept @ net.weight
        kept.add_(0.5)
        return first, kept @ net.weight

    assert [kind for kind, *_ in judged(changed)] == ["ac", "mac"]
