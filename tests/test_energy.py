"""Energy: arithmetic by hand, conventions as data, the network without spikes."""

import json
import math

import pytest
from makers import row

from autost_optuna.network.rows import REAL, Population
from autost_optuna.proxies.convention import CONVENTIONS, DEFAULT, Convention, Cost
from autost_optuna.proxies.energy import estimate_energy, mean_by_operation, mean_rate, total_mj, total_pj
from autost_optuna.proxies.quantised import compare_quantised


def layer(name, neurons):
    return Population(name=name, stage="s", role=name, group="g", neurons=neurons, steps=4)


ROWS = [
    row("stem.conv1", 1000, REAL, still=True),
    row("b", 500, "n"),
    row("product", 200, "n", weighted=False),
    row("head", 10, REAL, steps=1),
]
RATES = {"b": 0.25, "product": 0.5}
NEURONS = [layer("n", 30), layer("m", 20)]
PRICE = Cost(pj=1.0, source="s")
CHIP = """
name = "my-chip"
mac = { pj = 3.0, source = "data sheet" }
accumulate = { pj = 0.5, source = "data sheet" }
bit = { pj = 0.1, source = "measured" }
step = { pj = 70, source = "measured" }
weight_bits = 8
state_bits = 16
first_convolution = "once"
"""


def energies(convention, **options):
    return {charge.name: charge.energy_pj for charge in estimate_energy(ROWS, RATES, convention, NEURONS, **options)}


def test_energy_by_hand():
    charges = estimate_energy(ROWS, RATES)
    assert [charge.kind for charge in charges] == ["mac", "ac", "ac", "mac"]
    by_hand = [4.6 * 4000, 0.9 * 0.25 * 2000, 0.9 * 0.5 * 800, 4.6 * 10]
    assert [charge.energy_pj for charge in charges] == pytest.approx(by_hand)
    assert total_mj(charges) == pytest.approx(sum(by_hand) * 1e-9)
    assert mean_rate(charges) == pytest.approx((0.25 * 2000 + 0.5 * 800) / 2800)


def test_memory_adds_weights_and_states_by_hand():
    # 32 bits a weight for each MAC or accumulate; 32 bits a state, read and written by 30 and 20 neurons in 4 steps.
    bit = 3.12 * 32
    assert energies(CONVENTIONS["memory"]) == pytest.approx(
        {
            "stem.conv1": (4.6 + bit) * 4000,
            "b": (0.9 + bit) * 0.25 * 2000,
            "product": 0.9 * 0.5 * 800,  # spikes meet spikes: no weight is read
            "head": (4.6 + bit) * 10,
            "n": bit * 2 * 30 * 4,
            "m": bit * 2 * 20 * 4,
        }
    )
    moved = {charge.name: charge.moved_bits for charge in estimate_energy(ROWS, RATES, CONVENTIONS["memory"], NEURONS)}
    assert moved["b"] == 32 * 0.25 * 2000


def test_static_once_pays_a_still_first_convolution_once():
    once, every = energies(CONVENTIONS["static-once"]), energies(DEFAULT)
    assert once["stem.conv1"] == every["stem.conv1"] / 4 == 4600
    assert {name: value for name, value in once.items() if name != "stem.conv1"} == {
        name: value for name, value in every.items() if name != "stem.conv1"
    }


def test_a_users_own_chip_by_hand(tmp_path):
    path = tmp_path / "my_chip.toml"
    path.write_text(CHIP)
    found = energies(Convention.load(str(path)))
    assert found == pytest.approx(
        {
            "stem.conv1": (3.0 + 0.1 * 8) * 1000,
            "b": (0.5 + 0.1 * 8) * 500,
            "product": 0.5 * 400,
            "head": (3.0 + 0.1 * 8) * 10,
            "n": 0.1 * 16 * 2 * 30 * 4,
            "m": 0.1 * 16 * 2 * 20 * 4,
            "static": 70 * 4,
        }
    )
    assert math.fsum(found.values()) == total_pj(estimate_energy(ROWS, RATES, Convention.load(str(path)), NEURONS))


def test_nothing_is_left_out_in_silence():
    with pytest.raises(RuntimeError, match="no spike rate was measured for product"):
        estimate_energy(ROWS, {"b": 0.25})
    with pytest.raises(RuntimeError, match="memory charges the states of neurons"):
        estimate_energy(ROWS, RATES, CONVENTIONS["memory"])


def test_presets_are_named_and_sourced():
    assert list(CONVENTIONS) == [
        "horowitz-45nm-fp32",
        "horowitz-45nm-fp16",
        "horowitz-45nm-int8",
        "memory",
        "static-once",
        "integers-mac",
    ]
    costs = {name: (c.mac.pj, c.accumulate.pj, c.bit.pj) for name, c in CONVENTIONS.items()}
    assert costs == {
        "horowitz-45nm-fp32": (4.6, 0.9, 0),
        "horowitz-45nm-fp16": (1.5, 0.4, 0),
        "horowitz-45nm-int8": (0.23, 0.03, 0),
        "memory": (4.6, 0.9, 3.12),
        "static-once": (4.6, 0.9, 0),
        "integers-mac": (4.6, 0.9, 0),
    }
    assert all("Horowitz" in c.mac.source and "Horowitz" in c.accumulate.source for c in CONVENTIONS.values())
    assert all(name == c.name == c.label for name, c in CONVENTIONS.items())
    assert len({c.hash for c in CONVENTIONS.values()}) == 6
    assert DEFAULT.hash == "9df890489336"  # as in 0.1.0, which did not know how integers are charged
    with pytest.raises(ValueError, match="choose one of horowitz-45nm-fp32"):
        Convention.load("made-up")


def test_a_convention_survives_json_and_its_hash_is_that_of_its_rules(tmp_path):
    path = tmp_path / "my_chip.toml"
    path.write_text(CHIP)
    chip = Convention.load(str(path))
    assert Convention.from_dict(json.loads(json.dumps(chip.to_dict()))) == chip
    assert chip.label == f"my-chip#{chip.hash}"
    path.write_text(CHIP.replace('"measured"', '"measured again"').replace("pj = 70,", "pj = 70.0,"))
    assert Convention.load(str(path)).hash == chip.hash
    for old, new in (
        ("3.0", "3.1"),
        ("my-chip", "your-chip"),
        ("state_bits = 16", "state_bits = 8"),
        ("once", "every-step"),
    ):
        path.write_text(CHIP.replace(old, new))
        assert Convention.load(str(path)).hash != chip.hash, new


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "weight_bits",
            "wieght_bits",
            "energy convention: unknown key 'wieght_bits'; allowed are name, mac, accumulate",
        ),
        (
            "accumulate",
            "#",
            "energy convention lacks the key 'accumulate'; it needs name, mac, accumulate; allowed are name, mac, "
            "accumulate, bit",
        ),
        ("mac = { pj", "mac = { mW", "mac: unknown key 'mW'; allowed are pj, source"),
        (
            '{ pj = 3.0, source = "data sheet" }',
            "{ pj = 3.0 }",
            "mac lacks the key 'source'; it needs pj, source",
        ),
        ('{ pj = 3.0, source = "data sheet" }', "3.0", "mac 3.0 has no source; write mac = {"),
        ('"measured"', '" "', "is empty; say where 0.1 pJ comes from"),
        ("3.0", '"3.0"', "mac pj '3.0' is not an energy in pJ"),
        ("3.0", "-3.0", "mac pj -3.0 is not an energy in pJ"),
        ("3.0", "nan", "mac pj nan is not an energy in pJ"),
        ("3.0", "inf", "mac pj inf is not an energy in pJ"),
        ("3.0", "1e30", "mac pj 1e+30 is not an energy in pJ up to 1e9"),
        ("3.0", "true", "mac pj True is not an energy in pJ"),
        ("weight_bits = 8", "weight_bits = 0", "weight_bits 0 is not a number of bits"),
        ("state_bits = 16", "state_bits = 1.5", "state_bits 1.5 is not a number of bits"),
        ('"once"', '"twice"', "first_convolution 'twice' is unknown; use every-step or once"),
        ('"my-chip"', "7", "name '7' is not a name"),
        ('"my-chip"', '" my-chip"', "name ' my-chip' is not a name"),
        ('"my-chip"', '"' + "x" * 65 + '"', "is not a name for an energy convention"),
        ('"my-chip"', '"memory"', "names itself memory and differs from the convention of that name; rename it"),
        ("name", "name name", "is not TOML"),
    ],
)
def test_wrong_files_say_what_is_wrong_and_what_is_allowed(tmp_path, old, new, said):
    path = tmp_path / "my_chip.toml"
    path.write_text(CHIP.replace(old, new, 1))
    with pytest.raises(ValueError, match=r"my_chip\.toml") as caught:
        Convention.load(str(path))
    assert said in str(caught.value)


def test_a_missing_file_is_named():
    with pytest.raises(ValueError, match=r"none\.toml does not exist; check the path"):
        Convention.load("none.toml")


def test_the_mean_by_operation():
    assert mean_by_operation([{"a": 0.25, "b": 1.0}, {"a": 0.75, "b": 0.0}]) == {"a": 0.5, "b": 0.5}


def test_counted_accumulates_take_the_place_of_rate_times_macs():
    charges = {
        c.name: c for c in estimate_energy(ROWS, RATES, CONVENTIONS["memory"], NEURONS, {"b": 300.0, "product": 10.0})
    }
    assert charges["b"].accumulates == 300
    assert charges["b"].rate == 0.25  # what was measured stays what is shown
    assert charges["b"].energy_pj == pytest.approx((0.9 + 3.12 * 32) * 300)
    assert charges["product"].energy_pj == pytest.approx(9)
    assert charges["head"].accumulates is None
    assert {c.name: c.accumulates for c in estimate_energy(ROWS, RATES)}["b"] == 0.25 * 2000
    with pytest.raises(RuntimeError, match="no spike rate was measured for product"):
        estimate_energy(ROWS, RATES, DEFAULT, None, {"b": 300.0})


def test_the_network_without_spikes_by_hand():
    # One pass of 1,710 MACs; T = 4 has 5 levels, 3 bits, so a MAC costs 0.03 + 0.2 x 3/8 = 0.105 pJ instead of 0.23.
    found = compare_quantised(ROWS, RATES)
    assert found.activation_bits == 3
    assert found.int8_mj == pytest.approx(1710 * 0.23e-9)
    assert found.activation_bits_mj == pytest.approx(1710 * 0.105e-9)
    assert found.cheaper == found.cheaper_int8 == "never"
    assert found.break_even_rate is None  # 4,010 real-valued MACs at 4.6 pJ cost more than the whole network in 8 bits
    # In 8 bits too: 4010 x 0.23 = 922.3 pJ > 393.3 pJ, so still none.
    assert found.spiking_int8_mj == pytest.approx((4010 * 0.23 + 0.03 * (500 + 400)) * 1e-9)
    assert found.break_even_rate_int8 is None


def test_the_break_even_rate_is_where_both_cost_the_same():
    rows, rates = ROWS[1:3], {"b": 0.05, "product": 0.1}
    found = compare_quantised(rows, rates)
    # 700 MACs x 0.23 = 161 pJ; spikes cost 0.9 x 2800 x rate: rate 0.0639.
    assert found.break_even_rate == pytest.approx(161 / 2520)
    scale = found.break_even_rate / mean_rate(estimate_energy(rows, rates))
    scaled = {name: rate * scale for name, rate in rates.items()}
    assert total_mj(estimate_energy(rows, scaled)) == pytest.approx(found.int8_mj)
    # In 8 bits spikes cost 0.03 x 2800 x rate: 161 pJ would take a rate of 1.9, which cannot be.
    assert found.break_even_rate_int8 is None
    assert found.spiking_int8_mj < found.int8_mj
    assert (found.cheaper, found.cheaper_int8) == ("below", "always")


def test_a_break_even_rate_that_only_some_rows_could_reach_is_none():
    # Mean rate (0.01 x 2000 + 0.5 x 800) / 2800 = 0.15; twice that and the second row is at 1.
    rates = {"b": 0.01, "product": 0.5}
    at_the_bound, below = (
        compare_quantised(ROWS[1:3], rates, Convention(name="x", mac=PRICE, accumulate=Cost(pj=pj, source="s")))
        for pj in (161 / 840, 161 / 839)
    )
    assert (at_the_bound.break_even_rate, at_the_bound.cheaper) == (None, "always")
    assert below.break_even_rate == pytest.approx(0.3, rel=2e-3)


@pytest.mark.parametrize("rates", [{"b": 0.0, "product": 0.0}, RATES])
def test_where_spikes_cost_nothing_there_is_no_break_even_and_the_spiking_one_is_cheaper(rates):
    free = Convention(name="free spikes", mac=Cost(pj=1e-5, source="s"), accumulate=Cost(pj=0.0, source="s"))
    found = compare_quantised(ROWS, rates, free)
    assert found.break_even_rate is None
    assert found.cheaper == ("always" if rates is RATES else "unknown")
    assert total_mj(estimate_energy(ROWS, rates, free)) < found.int8_mj


def test_where_no_spike_was_seen_no_rate_can_be_scaled():
    found = compare_quantised(ROWS[1:3], {"b": 0.0, "product": 0.0})
    assert (found.break_even_rate, found.cheaper) == (None, "unknown")


@pytest.mark.parametrize(("steps", "bits"), [(1, 1), (2, 2), (3, 2), (4, 3), (7, 3), (8, 4), (16, 5)])
def test_bits_of_an_activation_hold_the_levels_of_a_spike_count(steps, bits):
    rows = [row("a", 1, "n", steps=steps)]
    assert compare_quantised(rows, {"a": 0.5}).activation_bits == bits


def test_in_memory_the_network_without_spikes_moves_8_bit_weights_and_its_activations_once():
    found = compare_quantised(ROWS, RATES, CONVENTIONS["memory"], NEURONS)
    assert found.int8_mj == pytest.approx((1710 * 0.23 + 3.12 * (1510 * 8 + 2 * 8 * 50)) * 1e-9)
    assert found.activation_bits_mj == pytest.approx((1710 * 0.105 + 3.12 * (1510 * 8 + 2 * 3 * 50)) * 1e-9)


def test_the_network_without_spikes_pays_one_step_of_static_energy():
    chip = Convention(name="x", mac=PRICE, accumulate=PRICE, step=Cost(pj=70, source="s"))
    assert compare_quantised(ROWS, RATES, chip).int8_mj == pytest.approx((1710 * 0.23 + 70) * 1e-9)


def test_a_convention_that_charges_nothing_is_refused(tmp_path):
    path = tmp_path / "free.toml"
    path.write_text('name = "free"\nmac = { pj = 0, source = "a" }\naccumulate = { pj = 0.0, source = "b" }\n')
    with pytest.raises(ValueError, match="all others cost 0 pJ, so nothing is charged"):
        Convention.load(str(path))


def test_bits_that_cost_nothing_and_signs_of_zero_do_not_change_the_hash():
    one = Convention(name="x", mac=PRICE, accumulate=PRICE, bit=Cost(pj=0.0, source="s"), weight_bits=8)
    other = Convention(name="x", mac=PRICE, accumulate=PRICE, bit=Cost(pj=-0.0, source="s"), weight_bits=16)
    assert one.hash == other.hash
