"""Conventions of chips: each price by hand, memories that hold so much, latency, and limits that networks keep."""

import itertools
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import snntorch
import torch
from makers import row
from spikingjelly.activation_based import neuron
from torch import nn

from autost_optuna import Architecture, Space, SpikingTransformer, Task, audit
from autost_optuna.files import toml_text
from autost_optuna.front.constraints import Constraints, violation
from autost_optuna.network.chain import operations_and_populations
from autost_optuna.network.rows import REAL, Population, Sizes
from autost_optuna.proxies.accumulates import measure_accumulates
from autost_optuna.proxies.convention import CONVENTIONS, Convention
from autost_optuna.proxies.energy import (
    estimate_energy,
    estimate_mj,
    latency_ms,
    mean_by_operation,
    mean_rate,
    total_mj,
)
from autost_optuna.proxies.limits import demand_of, refusal
from autost_optuna.proxies.prices import Cost, Limits, Memory, Sourced
from autost_optuna.proxies.quantised import compare_quantised
from autost_optuna.proxies.rates import measure_rates
from autost_optuna.proxies.reuse import InitialRates
from autost_optuna.proxies.tabulate import tabulate
from autost_optuna.search import study as studies
from autost_optuna.search.describe import describe
from autost_optuna.search.exact import representatives
from autost_optuna.search.optimum import table_front
from autost_optuna.search.outlay import Outlays
from autost_optuna.search.runner import run
from autost_optuna.search.settings import Plan, Settings
from autost_optuna.storage.storage import open_storage

CHIPS = sorted((Path(__file__).parents[1] / "examples" / "chips").glob("*.toml"))
DIGITS = Task.preset("digits")
SMALL = Architecture.from_text("C=64,depth=1,heads=4,ratio=2")
NEAT = Architecture.from_text("C=64,depth=1,heads=4,ratio=2,stem=sdt")  # no real values between the image and the head


def cost(pj):
    return Cost(pj=pj, source="s")


def sourced(value):
    return Sourced(value=value, source="s")


def chip(**prices):
    return Convention(**{"name": "chip", "mac": cost(4.0), "accumulate": cost(1.0), **prices})


ROWS = [
    row("conv1", 1000, REAL, sizes=Sizes(20, 50), still=True, params=60),
    row("b", 500, "n", sizes=Sizes(10, 50), params=40),
    row("sums", 300, "m", sizes=Sizes(12, 25), most=3),
    row("product", 200, "n", sizes=Sizes(10, 30, 8, both=True), weighted=False),
    row("head", 10, REAL, sizes=Sizes(5, 2), steps=1),
]
RATES = {"b": 0.25, "sums": 0.75, "product": 0.5}
NEURONS = [
    Population(name="n", stage="s", role="n", group="g", neurons=30, steps=4),
    Population(name="m", stage="s", role="m", group="g", neurons=20, steps=4, most=3),
]
COUNTS = {"conv1": 4000, "b": 500, "sums": 900, "product": 400, "head": 10}  # MACs, or accumulates
ONLY_ARITHMETIC = {"conv1": 16_000, "b": 500, "sums": 900, "product": 400, "head": 40}


def energies(convention, **options):
    return {charge.name: charge.energy_pj for charge in estimate_energy(ROWS, RATES, convention, NEURONS, **options)}


def test_arithmetic_alone():
    assert energies(chip()) == ONLY_ARITHMETIC


@pytest.mark.parametrize(
    ("prices", "added"),
    [
        ({"integer_accumulate": cost(1.5)}, {"sums": 450}),
        ({"spike": cost(2.0)}, {"b": 20, "sums": 72, "product": 40}),  # 2 pJ x rate x values read x 4 steps
        ({"layer": cost(7.0)}, {"conv1": 28, "b": 28, "sums": 28, "product": 28, "head": 7}),
        ({"neuron_update": cost(3.0)}, {"n": 360, "m": 240}),
        ({"step": cost(11.0)}, {"static": 44}),
        ({"idle_mw": sourced(2.0), "step_us": sourced(0.5)}, {"static": 4000}),  # 2 mW x 0.5 us = 1000 pJ per step
        # 8,010 MACs take 8,010 ns at 1e9 per second: 2 mW x 8.01 us = 16,020 pJ
        ({"idle_mw": sourced(2.0), "macs_per_s": sourced(1e9)}, {"static": 16_020}),
    ],
)
def test_each_price_by_hand(prices, added):
    expected = dict(ONLY_ARITHMETIC)
    for name, energy in added.items():
        expected[name] = expected.get(name, 0) + energy
    assert energies(chip(**prices)) == pytest.approx(expected)
    assert estimate_mj(ROWS, RATES, chip(**prices), NEURONS) == pytest.approx(sum(expected.values()) * 1e-9)


def test_bits_by_hand():
    bit = Memory(pj=0.5, source="s")
    weights = energies(chip(weight_bit=bit, weight_bits=8))
    # 4 pJ per weight: 4 x 1000 x 4, 500 accumulates, 900 accumulates, none in the product, 10 MACs
    assert weights == pytest.approx({"conv1": 32_000, "b": 2_500, "sums": 4_500, "product": 400, "head": 80})
    states = energies(chip(state_bit=bit, state_bits=10))
    assert states == pytest.approx({**ONLY_ARITHMETIC, "n": 0.5 * 20 * 120, "m": 0.5 * 20 * 80})
    moved = estimate_energy(ROWS, RATES, chip(activation_bit=bit, activation_bits=16), NEURONS)
    # 16 bits per real value, 1 per spike, 2 per number up to 3; both operands of a product of spikes
    assert {charge.name: charge.moved_bits for charge in moved} == {
        "conv1": 16 * 20 * 4,
        "b": 10 * 4,
        "sums": 2 * 12 * 4,
        "product": (10 + 8) * 4,
        "head": 16 * 5,
        "n": 30 * 4,
        "m": 2 * 20 * 4,
    }
    assert {c.name: c.energy_pj - ONLY_ARITHMETIC.get(c.name, 0) for c in moved} == pytest.approx(
        {charge.name: 0.5 * charge.moved_bits for charge in moved}
    )


def test_what_does_not_fit_costs_more():
    small = Memory(pj=1.0, source="s", fits_kib=0.05, beyond=cost(10.0))  # 409.6 bits
    assert small.price(409.6) == 1.0
    assert small.price(819.2) == pytest.approx(5.5)
    # 100 weights of 8 bits: 409.6 of 800 bits are near, at 1 pJ, the others at 10
    mean = 0.512 * 1 + 0.488 * 10
    found = energies(chip(weight_bit=small, weight_bits=8))
    assert found["b"] == pytest.approx(500 + 500 * 8 * mean)
    assert found["product"] == 400
    roomy = replace(small, fits_kib=1.0)
    assert energies(chip(weight_bit=roomy, weight_bits=8))["b"] == pytest.approx(500 + 500 * 8)
    # 50 neurons of 16 bits
    found = energies(chip(state_bit=small, state_bits=16))
    assert found["n"] == pytest.approx(2 * 16 * 120 * mean)


def test_latency():
    assert latency_ms(ROWS, chip()) is None
    assert latency_ms(ROWS, chip(step_us=sourced(250.0))) == 1.0
    assert latency_ms(ROWS, chip(macs_per_s=sourced(8.01e6))) == pytest.approx(1.0)
    once = chip(macs_per_s=sourced(1e6), first_convolution="once")
    assert latency_ms(ROWS, once) == pytest.approx(5.01)


ALL = chip(
    integer_accumulate=cost(1.5),
    spike=cost(2.0),
    layer=cost(7.0),
    neuron_update=cost(3.0),
    step=cost(11.0),
    weight_bit=Memory(pj=0.1, source="s"),
    activation_bit=Memory(pj=0.2, source="s", fits_kib=0.01, beyond=cost(0.4)),
    idle_mw=sourced(2.0),
    macs_per_s=sourced(1e9),
)


def test_the_break_even_rate_is_where_both_cost_the_same_under_every_price():
    small = {"layer": cost(0.1), "neuron_update": cost(0.001), "step": cost(1.0), "idle_mw": sourced(1e-4)}
    bits = {"weight_bit": Memory(pj=0.001, source="s"), "activation_bit": Memory(pj=0.01, source="s")}
    convention = replace(ALL, mac=cost(0.01), **small, **bits)
    found = compare_quantised(ROWS, RATES, convention, NEURONS)
    spikes = total_mj(estimate_energy(ROWS, RATES, convention, NEURONS))
    silent = total_mj(estimate_energy(ROWS, dict.fromkeys(RATES, 0.0), convention, NEURONS))
    double = total_mj(estimate_energy(ROWS, {n: 2 * rate for n, rate in RATES.items()}, convention, NEURONS))
    assert double - silent == pytest.approx(2 * (spikes - silent))  # a bill is linear in the scale of all rates
    assert found.cheaper == "below"
    scale = found.break_even_rate / mean_rate(estimate_energy(ROWS, RATES, convention, NEURONS))
    scaled = {name: scale * rate for name, rate in RATES.items()}
    assert total_mj(estimate_energy(ROWS, scaled, convention, NEURONS)) == pytest.approx(found.int8_mj)


def test_a_chip_survives_toml_and_json_and_its_hash_is_that_of_its_rules(tmp_path):
    limits = Limits(source="s", neurons=1000, multiplication="nowhere")
    full = replace(ALL, limits=limits)
    assert Convention.from_dict(json.loads(json.dumps(full.to_dict()))) == full
    assert replace(full, limits=replace(limits, source="t")).hash == full.hash
    for change in (
        {"limits": None},
        {"limits": replace(limits, neurons=999)},
        {"spike": cost(2.1)},
        {"activation_bits": 8},
        {"idle_mw": sourced(3.0)},
        {"activation_bit": replace(ALL.activation_bit, beyond=cost(0.5))},
    ):
        assert replace(full, **change).hash != full.hash, change
    assert replace(full, state_bits=8).hash == full.hash  # states cost nothing here


@pytest.mark.parametrize("path", CHIPS, ids=lambda path: path.stem)
def test_the_chips_of_the_examples_are_read_and_priced(path):
    convention = Convention.load(path)
    listed, layers = operations_and_populations(NEAT, DIGITS)
    bill = estimate_energy(listed, {one.name: 0.1 for one in listed}, convention, layers)
    assert total_mj(bill) > 0
    assert latency_ms(listed, convention) > 0


def test_the_bills_of_the_chips_by_hand():
    bills = {path.stem: energies(Convention.load(path)) for path in CHIPS}
    loihi = bills["loihi"]
    assert loihi["b"] == pytest.approx(
        500 * 23.6 + 10 * 1.7
    )  # accumulates, and 0.25 x 10 spikes sent in each of 4 steps
    assert loihi["conv1"] == pytest.approx(4000 * 23.6)
    assert (loihi["n"], loihi["static"]) == pytest.approx((120 * 81, 4 * 104 * 8.6 * 1000))
    assert bills["truenorth"] == pytest.approx({name: 26 * count for name, count in COUNTS.items()})
    accelerator = bills["accelerator-45nm"]
    # the weight of an accumulate is 8 bits of SRAM; 10 spikes are read in each step, one bit each
    assert accelerator["b"] == pytest.approx(500 * (0.03 + 8 * 1.5625) + 4 * 10 * 0.3125)
    assert accelerator["m"] == pytest.approx(80 * 2 * 16 * 1.5625 + 4 * 20 * 2 * 0.3125)
    assert accelerator["static"] == pytest.approx(8010 / 100e9 * 10e-3 * 1e12)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("pj = 0.5", "pj = -1", "weight_bit pj -1 is not an energy in pJ"),
        ("fits_kib = 4", "", "weight_bit needs both fits_kib and beyond"),
        ("fits_kib = 4", "fits_kib = 0", "weight_bit fits_kib 0 is not a size in KiB"),
        ('beyond = { pj = 5, source = "d" }', "", "weight_bit needs both fits_kib and beyond"),
        ('beyond = { pj = 5, source = "d" }', "beyond = 5", "weight_bit beyond 5 has no source"),
        ('{ value = 3, source = "e" }', "3", "idle_mw 3 has no source; write idle_mw = {"),
        ("value = 3", "value = 0", "idle_mw value 0 is not a number from 1e-09 to 1e+09; use one such as 10"),
        ("value = 9", 'value = "9"', "step_us value '9' is not a number from 1e-06"),
        ("step_us", "macs_per_second", "unknown key 'macs_per_second'; allowed are name, mac"),
        ('step_us = { value = 9, source = "e" }', "", "idle_mw needs the latency of an inference"),
        ("spike = ", 'macs_per_s = { value = 9, source = "e" }\nspike = ', "both give the latency"),
        ("neurons = 7", "neurons = 7.5", "limits neurons 7.5 is not a positive whole number"),
        ("neurons = 7", "neurons = 0", "limits neurons 0 is not a positive whole number"),
        ("neurons = 7", "", "limits set none"),
        ("neurons = 7", 'multiplication = "never"', "limits multiplication 'never' is unknown; use anywhere"),
        ("neurons = 7", "neurones = 7", "limits: unknown key 'neurones'; allowed are source, neurons"),
        ('source = "f"', 'source = ""', "limits source '' is empty"),
        ("spike = { pj = 1", "spike = { pJ = 1", "spike: unknown key 'pJ'"),
    ],
)
def test_wrong_files_say_what_is_wrong(tmp_path, old, new, said):
    text = """
name = "my-chip"
mac = { pj = 3.0, source = "a" }
accumulate = { pj = 0.4, source = "a" }
spike = { pj = 1, source = "b" }
idle_mw = { value = 3, source = "e" }
step_us = { value = 9, source = "e" }
[weight_bit]
pj = 0.5
source = "c"
fits_kib = 4
beyond = { pj = 5, source = "d" }
[limits]
neurons = 7
source = "f"
"""
    path = tmp_path / "my_chip.toml"
    path.write_text(text)
    assert Convention.load(path).limits.neurons == 7
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(ValueError, match=r"my_chip\.toml") as caught:
        Convention.load(path)
    assert said in str(caught.value)


def test_what_a_network_demands():
    demand = demand_of(*operations_and_populations(SMALL, DIGITS), chip(weight_bits=8))
    # stem 8, 16, 32 channels on 8x8, 8x8, 4x4 ... as the ledger lists them: here only sums that can be done by hand
    listed, layers = operations_and_populations(SMALL, DIGITS)
    assert demand.neurons == sum(layer.neurons for layer in layers)
    assert demand.synapses == sum(one.macs for one in listed) - 2 * 16_384  # without attention products
    assert demand.fan_in == 9 * 64
    assert demand.multiplied == ("stem.conv1", "stem.position", "head")
    assert demand.inside == ("stem.position",)
    assert demand_of(*operations_and_populations(NEAT, DIGITS), chip()).inside == ()


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"neurons": 13_000}, None),
        ({"neurons": 100}, "neurons, at most 100 fit"),
        ({"synapses": 1_000_000}, "synapses, at most 1,000,000 fit"),
        ({"fan_in": 575}, "an output adds up 576 values, at most 575 are allowed"),
        ({"fan_in": 576}, None),
        ({"weight_kib": 1.0}, "KiB of weights, at most 1 fit"),
        ({"multiplication": "at-the-ends"}, "stem.position multiplies real values, which it allows only in"),
        ({"multiplication": "nowhere"}, "stem.conv1 and 2 others multiply real values, which it forbids"),
    ],
)
def test_a_network_that_does_not_fit_is_refused_with_the_reason(limits, said):
    convention = chip(limits=Limits(source="the data sheet", **limits))
    reason = refusal(demand_of(*operations_and_populations(SMALL, DIGITS), convention), convention.limits)
    values = Constraints().on(convention).of_counts(SMALL, DIGITS)
    assert [name.startswith("chip_") for name in values] == [True]
    assert (violation(values) > 0) == (said is not None)
    if said is None:
        assert reason is None
        return
    assert said in reason
    with pytest.raises(ValueError, match="does not fit chip: ") as caught:
        describe(SMALL, DIGITS, convention=convention)
    assert said in str(caught.value)
    assert "(the data sheet)" in str(caught.value)


SPACE = Space.from_dict(
    {
        "name": "stems",
        "embed_dim": [16, 32],
        "depth": [1, 2],
        "num_heads": [2],
        "mlp_ratio": [1, 2],
        "stem": ["autost", "sdt"],
    }
)


@pytest.fixture
def limited(tmp_path):
    limits = Limits(source="s", neurons=7_000, multiplication="at-the-ends")
    convention = chip(limits=limits, step_us=sourced(10.0), idle_mw=sourced(1.0))
    storage = str(tmp_path / "s.journal")
    plan = Plan(SPACE, DIGITS, convention=convention, population=4)
    return studies.create("limited", storage, plan), plan, storage


def test_limits_are_constraints_of_a_search(limited):
    search, plan, storage = limited
    assert "the limits of chip (7,000 neurons, multiplication of real values at-the-ends)" in str(
        search.settings.constraints
    )
    assert Settings.from_dict(json.loads(json.dumps(search.settings.to_dict()))) == search.settings
    run(search, trials=12)
    tried = [one.architecture for one in search.candidates()]
    assert tried
    convention = plan.convention
    for one in tried:
        assert refusal(demand_of(*operations_and_populations(one, DIGITS), convention), convention.limits) is None
    assert {one.form.stem for one in tried} == {"sdt"}
    again = studies.create("limited", storage, plan, skip_if_exists=True)
    assert again.settings == search.settings
    found = studies.find_exact(again)
    fitting = [
        one for one in representatives(SPACE) if not violation(search.settings.constraints.of_counts(one, DIGITS))
    ]
    assert 0 < len(fitting) < len(list(representatives(SPACE)))
    assert {one.architecture.key for one in found.members} <= {one.key for one in fitting}
    assert open_storage(storage)


def test_sums_over_parts_hold_every_price_that_is_one():
    images = torch.rand(2, *DIGITS.input_shape, generator=torch.Generator().manual_seed(0))
    table = tabulate(InitialRates(DIGITS, images), SPACE)
    for convention in (
        ALL,
        replace(ALL, macs_per_s=None, step_us=sourced(3.0)),
        replace(ALL, first_convolution="once"),
    ):
        outlays = Outlays(SPACE, table, convention)
        words = outlays.draw(20)
        for one, energy in zip(outlays.architectures(words), outlays.of(words).energy_mj, strict=True):
            listed, layers = operations_and_populations(one, DIGITS)
            rates = mean_by_operation(table.rates(one))
            assert energy == pytest.approx(estimate_mj(listed, rates, convention, layers), rel=1e-12)
    with pytest.raises(ValueError, match="chip prices bits by how much of a whole network fits"):
        Outlays(SPACE, table, replace(ALL, weight_bit=Memory(pj=1.0, source="s", fits_kib=1.0, beyond=cost(2.0))))
    with pytest.raises(ValueError, match="cannot keep the limits of chip"):
        table_front(SPACE, table, ALL, Constraints().on(replace(ALL, limits=Limits(source="s", neurons=9))))


def test_a_chip_that_nothing_fits_is_refused(tmp_path):
    convention = chip(limits=Limits(source="s", neurons=10))
    with pytest.raises(ValueError, match="no architecture of the space stems keeps the limits of chip"):
        studies.create("none", str(tmp_path / "s.journal"), Plan(SPACE, DIGITS, convention=convention))
    with pytest.raises(ValueError, match=r"comes nearest: it has [0-9,]+ neurons, at most 10 fit"):
        studies.create("none", str(tmp_path / "s.journal"), Plan(SPACE, DIGITS, convention=convention))


def test_baselines_that_do_not_fit_say_so(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = 'name = "c"\nmac = { pj = 4, source = "s" }\naccumulate = { pj = 1, source = "s" }\n'
    (tmp_path / "c.toml").write_text(text + 'limits = { neurons = 7000, source = "s" }\n')
    (tmp_path / "space.toml").write_text(toml_text(SPACE.to_dict()))
    created = cli("study", "create", "one", "--task", "digits", "--space", "space.toml", "--energy", "c.toml")
    assert created.exit_code == 0, created.output
    assert cli("study", "run", "one", "--trials", "3", "-q").exit_code == 0
    shown = cli("study", "baseline", "one", "C=64,depth=1,heads=4,ratio=2", "C=16,depth=1,heads=2,ratio=1")
    assert shown.exit_code == 0, shown.output
    assert shown.stdout.count("does not fit c: it has ") == 1


def test_energies_are_finite_under_every_price():
    found = describe(NEAT, DIGITS, convention=ALL)
    assert found.latency_ms == pytest.approx(sum(charge.macs * charge.steps for charge in found.charges) / 1e6)
    assert math.isfinite(found.candidate.energy_mj)
    assert total_mj(found.charges) == pytest.approx(found.candidate.energy_mj)


NEAR = Memory(pj=0.2, source="s", fits_kib=1.0, beyond=cost(0.4))  # the head's 64 values fit; 16 tokens of 64 do not
WHOLE = replace(
    ALL, layer=cost(0.0), activation_bit=NEAR, limits=Limits(source="s", neurons=10**9, synapses=10**9, fan_in=10**6)
)


ARITHMETIC = [CONVENTIONS["memory"], CONVENTIONS["integers-mac"], chip(integers="mac", spike=cost(2.0))]
SEVERAL = [  # networks whose numbers of spikes reach their bounds
    WHOLE,
    replace(WHOLE, macs_per_s=None, step_us=sourced(3.0)),
    replace(WHOLE, weight_bit=Memory(pj=1.0, source="s", fits_kib=1.0, beyond=cost(3.0)), state_bits=7),
    replace(WHOLE, state_bit=Memory(pj=1.0, source="s", fits_kib=0.1, beyond=cost(3.0))),
]
BINARY = ["C=64,depth=1,heads=4,ratio=2", "C=32,depth=2,heads=2,ratio=1,stem=sdt"]
SUMS = ["C=32,depth=1,heads=2,ratio=1,neuron=ilif", "C=32,depth=1,heads=2,ratio=1,stem=spikformer,residual=spike"]


@pytest.mark.parametrize(
    ("text", "convention"),
    [*itertools.product(BINARY, [*ARITHMETIC, *SEVERAL]), *itertools.product(SUMS, ARITHMETIC)],
)
def test_an_audit_charges_what_the_ledger_does(text, convention):
    architecture = Architecture.from_text(text)
    network = SpikingTransformer(architecture, DIGITS).train()
    x = torch.randn(3, *DIGITS.input_shape, generator=torch.Generator().manual_seed(0))
    rates, counted = mean_by_operation(measure_rates(network, x)), mean_by_operation(measure_accumulates(network, x))
    listed, layers = operations_and_populations(architecture, DIGITS)
    expected = {charge.name: charge.energy_pj for charge in estimate_energy(listed, rates, convention, layers, counted)}
    found = audit(network, x, convention)
    rows = {row.module or row.kind: row for row in found.rows}
    assert {name: row.energy_pj for name, row in rows.items()} == pytest.approx(expected, rel=1e-12)
    assert found.latency_ms == (pytest.approx(latency_ms(listed, convention)) if convention.timed else None)
    assert str(found).count("neurons") == (len(layers) if convention.charges_neurons else 0)


def test_an_audited_network_demands_what_the_ledger_says():
    network = SpikingTransformer(SMALL, DIGITS).train()
    x = torch.randn(3, *DIGITS.input_shape, generator=torch.Generator().manual_seed(0))
    demand = demand_of(*operations_and_populations(SMALL, DIGITS), chip(weight_bits=8))
    for name in ("neurons", "synapses", "fan_in", "weight_kib"):
        value = getattr(demand, name)
        fits = chip(weight_bits=8, limits=Limits(source="s", **{name: value}))
        assert audit(network, x, fits).rows
        small = chip(
            weight_bits=8, limits=Limits(source="s", **{name: value - 1 if name != "weight_kib" else value - 0.01})
        )
        with pytest.raises(ValueError, match="the network does not fit chip: "):
            audit(network, x, small)
    with pytest.raises(ValueError, match=r"stem\.position multiplies real values, which it allows only in the first"):
        audit(network, x, chip(limits=Limits(source="s", multiplication="at-the-ends")))


class Steps(nn.Module):
    """A neuron of snnTorch or SpikingJelly in a loop over time."""

    def __init__(self, node, steps):
        super().__init__()
        self.layer, self.node, self.steps = nn.Linear(6, 4), node, steps
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        found = 0.0
        for _ in range(self.steps):
            spikes = self.node(self.layer(x))
            found = found + self.head(spikes[0] if isinstance(spikes, tuple) else spikes)
        return found


class Shared(nn.Module):
    """One neuron of SpikingJelly, which forgets, behind two layers."""

    def __init__(self, steps):
        super().__init__()
        self.layers, self.node, self.steps = nn.ModuleList([nn.Linear(6, 6), nn.Linear(6, 6)]), neuron.LIFNode(), steps

    def forward(self, x):
        for _ in range(self.steps):
            first = self.node(self.layers[0](x))
            self.node.reset()
            last = self.node(self.layers[1](first))
            self.node.reset()
        return last


@pytest.mark.parametrize("steps", [1, 5])
def test_a_neuron_that_is_used_twice_is_two_layers(steps):
    convention = chip(neuron_update=cost(3.0), step=cost(11.0), limits=Limits(source="s", neurons=12))
    found = audit(Shared(steps), torch.randn(7, 6), convention)
    kinds = {row.kind: row.energy_pj for row in found.rows}
    assert (kinds["state"], kinds["static"]) == (3.0 * 12 * steps, 11.0 * steps)
    with pytest.raises(ValueError, match="it has 12 neurons, at most 11 fit"):
        audit(Shared(steps), torch.randn(7, 6), chip(limits=Limits(source="s", neurons=11)))


NODES = {
    "spikingjelly": (lambda: neuron.LIFNode(), 5),
    "snntorch": (lambda: snntorch.Leaky(beta=0.9, init_hidden=True), 5),
    "sequence": (lambda: neuron.LIFNode(step_mode="m"), 1),
    "parallel": (lambda: neuron.PSN(T=5), 1),
}


@pytest.mark.parametrize("name", NODES)
def test_neurons_and_steps_of_other_libraries_are_counted(name):
    make, steps = NODES[name]
    torch.manual_seed(0)
    x = 3 * torch.randn(*((5,) if steps == 1 else ()), 7, 6)
    limits = Limits(source="s", neurons=4)
    convention = chip(neuron_update=cost(3.0), step=cost(11.0), step_us=sourced(2.0), limits=limits)
    found = audit(Steps(make(), steps), x, convention, images=7)
    kinds = {row.kind: row for row in found.rows}
    assert kinds["state"].energy_pj == 3.0 * 4 * 5
    assert kinds["state"].module == "node"
    assert kinds["static"].energy_pj == 11.0 * 5
    assert found.latency_ms == pytest.approx(0.01)
    given = audit(Steps(make(), steps), x, convention, images=7, steps=2)
    assert given.latency_ms == pytest.approx(0.004)


def test_what_an_audit_cannot_know_is_refused():
    plain = nn.Sequential(nn.Linear(6, 4), nn.Hardtanh(0, 1))
    x = torch.randn(7, 6)
    with pytest.raises(ValueError, match="charges by time steps, and no neuron in it is known; give steps"):
        audit(plain, x, chip(step=cost(1.0)))
    assert audit(plain, x, chip(step=cost(1.0)), steps=4).rows[-1].energy_pj == 4.0
    spikes = (torch.rand(7, 6) > 0.5).float()
    assert [row.kind for row in audit(plain, spikes, chip(neuron_update=cost(1.0))).rows] == ["ac"]

    class Threshold(nn.Module):
        def forward(self, x):
            return (x > 0.5).float()

    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.known, self.own, self.last = (
                nn.Linear(6, 4),
                neuron.LIFNode(),
                Threshold(),
                nn.Linear(4, 3),
            )

        def forward(self, x):
            x = self.first(x)
            return self.last(self.known(x) + self.own(x))

    for network in (nn.Sequential(nn.Linear(6, 4), Threshold()), Both()):  # its spikes drive nothing, or with others
        with pytest.raises(ValueError, match=r"(1|own) makes or reads spikes of none that are known"):
            audit(network, x, chip(neuron_update=cost(1.0)))
        assert audit(network, x).rows
    with pytest.raises(ValueError, match="charges each layer and step, which operations do not show"):
        audit(plain, x, chip(layer=cost(1.0)))
    two = nn.Sequential(neuron.LIFNode(step_mode="m"), nn.Flatten(0, 1), neuron.LIFNode(step_mode="s"))
    with pytest.raises(ValueError, match="its neurons take 1 or 5 steps; give steps, their number"):
        audit(two, torch.randn(5, 7, 6), chip(step=cost(1.0)), images=7)


def test_weights_in_buffers_count_and_statistics_of_normalisation_do_not():
    class Held(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm1d(6)
            self.register_buffer("weight", torch.rand(6, 4))

        def forward(self, x):
            return self.norm(x) @ self.weight

    exact = (24 + 12) * 32 / 8192
    assert audit(Held(), torch.randn(7, 6), chip(limits=Limits(source="s", weight_kib=exact))).rows
    with pytest.raises(ValueError, match=r"KiB of weights, at most 0\.14 fit"):
        audit(Held(), torch.randn(7, 6), chip(limits=Limits(source="s", weight_kib=0.14)))


@pytest.mark.parametrize(
    ("inputs", "options", "said"),
    [
        ({"x": torch.ones(2, 6)}, {}, "inputs are dict, not a tensor or a tuple"),
        ((), {}, "inputs are tuple, not a tensor or a tuple"),
        (None, {}, "inputs are NoneType"),
        (torch.ones(2, 6), {"images": 0}, "images 0 is not a positive whole number"),
        (torch.ones(2, 6), {"images": 2.5}, "images 2.5 is not a positive whole number"),
        (torch.ones(2, 6), {"steps": 0}, "steps 0 is not a positive whole number"),
        (torch.ones(2, 6), {"steps": True}, "steps True is not a positive whole number"),
        (torch.ones(2, 6), {"convention": "memory"}, "convention 'memory' is none; give Convention.load"),
    ],
)
def test_wrong_calls_of_audit_say_what_is_wrong(inputs, options, said):
    with pytest.raises(ValueError, match=said):
        audit(nn.Linear(6, 4), inputs, **options)


def test_networks_that_cannot_be_watched_name_the_remedy():
    traced = torch.jit.trace(nn.Linear(6, 4), torch.ones(2, 6))
    with pytest.raises(ValueError, match="TorchScript cannot be watched; audit the one that it was made from"):
        audit(traced, torch.ones(2, 6))
    with pytest.raises(ValueError, match=r"DataParallel runs elsewhere; audit network\.module"):
        audit(nn.DataParallel(nn.Linear(6, 4)), torch.ones(2, 6))


def test_limits_of_weights_make_their_bits_part_of_the_hash():
    held = Limits(source="s", weight_kib=50.0)
    assert chip(limits=held).hash != chip(limits=held, weight_bits=8).hash
    assert chip(limits=held).hash == chip(limits=replace(held, weight_kib=50)).hash
    assert chip(step_us=sourced(3)).hash == chip(step_us=sourced(3.0)).hash


def test_the_comparison_in_8_bits_has_one_price_of_accumulates():
    plain, dear = (
        compare_quantised(ROWS, RATES, chip(integer_accumulate=price), NEURONS) for price in (None, cost(5000.0))
    )
    assert plain.spiking_int8_mj == dear.spiking_int8_mj


def test_spikes_are_sent_even_where_their_sums_are_charged_as_real_values():
    listed = [replace(ROWS[2], levels=1)]
    (charge,) = estimate_energy(listed, RATES, chip(integers="mac", spike=cost(2.0)), NEURONS)
    assert (charge.kind, charge.energy_pj) == ("mac", 4 * 300 * 4 + 72)


def test_frames_of_events_are_real_values_to_our_networks_and_spikes_to_others():
    task = Task(name="events", image_size=8, channels=2, num_classes=10, time_steps=3, pooling="0101", events=True)
    architecture = Architecture.from_text("C=32,depth=1,heads=2,ratio=1")
    network = SpikingTransformer(architecture, task).train()
    frames = torch.poisson(torch.full((4, *task.input_shape), 0.3), torch.Generator().manual_seed(0))
    counted = mean_by_operation(measure_accumulates(network, frames))
    listed, layers = operations_and_populations(architecture, task)
    for convention in (chip(), CONVENTIONS["memory"]):
        expected = estimate_mj(listed, dict.fromkeys(counted, 0.0), convention, layers, counted)
        assert audit(network, frames, convention).energy_mj == pytest.approx(expected, rel=1e-12)
    (other,) = audit(nn.Conv2d(2, 4, 3), frames.flatten(0, 1), images=4).rows
    assert (other.kind, other.most) == ("ac", int(frames.max()))
