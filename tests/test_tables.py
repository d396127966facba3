"""Tables of rates, and the fronts of whole spaces that follow from them."""

import functools
import json
import math
import random
import re

import pytest
import torch

from autost_optuna import Space, Task
from autost_optuna.front.constraints import Constraints, violation
from autost_optuna.network.architecture import Architecture
from autost_optuna.network.chain import chain, operations_and_populations, rows_of
from autost_optuna.network.place import Place
from autost_optuna.network.rows import Operation
from autost_optuna.proxies.convention import CONVENTIONS, DEFAULT
from autost_optuna.proxies.energy import estimate_energy, mean_by_operation, total_mj
from autost_optuna.proxies.flops import count_flops, count_params
from autost_optuna.proxies.reuse import InitialRates
from autost_optuna.proxies.table import RateTable, layout_of, slots_of
from autost_optuna.proxies.tabulate import count_entries, scaling_networks, tabulate
from autost_optuna.search import exact as exact_module
from autost_optuna.search.exact import ExactFront
from autost_optuna.search.optimum import table_front
from autost_optuna.search.outlay import Outlays, Words
from autost_optuna.search.study import open_search

TASK = Task(name="digits", image_size=8, channels=1, num_classes=10, time_steps=3, pooling="0101")
PYRAMID = {
    "embed_dim": [16],
    "depth": [1, 2],
    "mixer": ["ssa", "qkta", "identity"],
    "num_heads": [1, 2],
    "mlp_ratio": [1, 2],
    "stem": ["spikformer", "qkformer"],
    "residual": ["membrane", "spike"],
    "stages": [2],
    "stage_depth": [1, 2],
    "shared": {"mixer": "stage", "mlp_ratio": "network"},
}


@pytest.fixture
def images():
    return torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))


class Drawn(dict):
    """Rates of every part at every place, drawn at random when they are asked for."""

    def __contains__(self, slot):
        return True

    def __missing__(self, slot):
        width = 8 if slot.part.name in ("stem", "embedding") else slot.layout.embed_dim
        place = Place(width=width, side=8, steps=3, still=False, stem=slot.layout.form.stem)
        at = place.entering(0, slot.part.name)
        names = [row.name.removeprefix(f"{at.path}.") for row in rows_of(slot.part, at) if isinstance(row, Operation)]
        generator = random.Random(str(slot))
        return self.setdefault(slot, {name: (generator.random(), generator.random()) for name in names})


def energy(table, architecture, convention=DEFAULT):
    listed, layers = operations_and_populations(architecture, TASK)
    return total_mj(estimate_energy(listed, mean_by_operation(table.rates(architecture)), convention, layers))


def brute_force(space, table, convention=DEFAULT, constraints=None):
    """FLOPs and energy of the front among all architectures, one by one."""
    found, most = [], 0
    points = [(energy(table, one, convention), count_flops(one, TASK), one) for one in space.enumerate()]
    for mj, flops, one in sorted(points, key=lambda point: (point[0], -point[1])):
        bounds = constraints or Constraints()
        if flops > most and not violation(bounds.of_counts(one, TASK) | bounds.of_energy(mj)):
            found.append((flops, pytest.approx(mj, rel=1e-9)))
            most = flops
    return found


def front(*args):
    return [(member.flops, member.energy_mj) for member in table_front(*args)]


@pytest.mark.parametrize(
    ("choices", "entries"),
    [
        ({"depth": (1, 2, 3)}, 6),
        ({"depth": (1, 2), "mixer": ("ssa", "depthwise"), "genes": {"kernel": (3,)}, "shared": "stage"}, 8),
        ({"depth": (1, 3), "mixer": ("ssa", "identity"), "shared": {"mixer": "network", "mlp_ratio": "block"}}, 12),
    ],
    ids=["one", "stage", "network"],
)
def test_networks_on_which_rates_are_measured_have_their_measured_rates(images, choices, entries):
    """With one letter per kind of mixer, these are all networks whose blocks share their mixer."""
    space = Space(name="one", embed_dim=(16,), num_heads=(2,), mlp_ratio=(2,), **choices)
    measured = InitialRates(TASK, images, seeds=2)
    table = tabulate(measured, space)
    assert count_entries(space) == entries
    for architecture in space.enumerate():
        for found, rates in zip(table.rates(architecture), measured.measure(architecture), strict=True):
            assert found == rates


@pytest.mark.parametrize("data", [PYRAMID, {**PYRAMID, "shared": "block", "num_heads": [1]}], ids=["shared", "blocks"])
def test_every_network_of_a_space_finds_its_rates(images, data):
    space = Space.from_dict(data, name="s")
    seen = []
    table = tabulate(InitialRates(TASK, images), space, on_done=lambda done, total: seen.append((done, total)))
    assert seen[-1][1] == count_entries(space)
    drawn = random.Random(0)
    for architecture in [space.draw(drawn) for _ in range(60)]:
        named = {
            row.name
            for row in operations_and_populations(architecture, TASK)[0]
            if row.driven_by != "real-valued input"
        }
        assert all(rates.keys() == named for rates in table.rates(architecture))
        assert layout_of(architecture) in [layout for layout, _ in space.layouts.every()]
    other = Space.from_dict({**data, "embed_dim": [32]}, name="other").draw(drawn)
    with pytest.raises(ValueError, match=r"C=32.* has a part that the table of rates lacks; measure it"):
        table.rates(other)


def test_energies_of_a_table_are_near_measured_ones():
    """AutoST's form on noise: goals for CIFAR-10 images are stricter, and held in studies/tables."""
    space, task = Space.load("tiny"), Task.preset("cifar10")
    measured = InitialRates(task, torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    narrow = Space(name="narrow", embed_dim=(192,), depth=(1, 2, 3), num_heads=(4, 8), mlp_ratio=(3, 4, 5))
    table, drawn = tabulate(measured, narrow), random.Random(0)
    for architecture in [narrow.draw(drawn) for _ in range(8)]:
        assert architecture in space
        listed, layers = operations_and_populations(architecture, task)
        rates = mean_by_operation(measured.measure(architecture))
        tabled = total_mj(estimate_energy(listed, mean_by_operation(table.rates(architecture)), populations=layers))
        assert tabled == pytest.approx(total_mj(estimate_energy(listed, rates, populations=layers)), rel=0.005)


def random_space(seed):
    drawn = random.Random(seed)
    some = functools.partial(lambda drawn, values: drawn.sample(values, drawn.randint(1, len(values))), drawn)
    mixers = some(["ssa", "qkta", "depthwise", "identity", "sdsa"])
    data = {
        "embed_dim": some([16, 24]),
        "depth": some([1, 2, 3]),
        "mixer": mixers,
        "mlp_ratio": some([1, 1.5, 2]),
        "stem": some(["autost", "sdt", "qkformer"]),
        "residual": some(["membrane", "spike"]),
        "shared": drawn.choice(["block", "stage", "network", {"mixer": "stage"}, {"mlp_ratio": "network"}]),
    }
    data |= {"num_heads": some([1, 2])} if {"ssa", "qkta"} & set(mixers) else {}
    data |= {"kernel": some([3, 5])} if "depthwise" in mixers else {}
    data |= {"stages": [1, 2], "stage_depth": [1, 2]} if "qkformer" in data["stem"] and drawn.random() < 0.5 else {}
    if data["shared"] == {"mixer": "stage"} and len(mixers) == 1:
        data["shared"] = "stage"
    return Space.from_dict(data, name=f"random {seed}")


@pytest.mark.parametrize("seed", range(50))
def test_the_front_of_a_random_space_is_that_of_all_its_architectures(seed):
    space, table = random_space(seed), RateTable(task=TASK, entries=Drawn())
    while space.size > 400:
        seed += 1000
        space = random_space(seed)
    convention = CONVENTIONS[
        random.Random(seed).choice(["horowitz-45nm-fp32", "memory", "static-once", "integers-mac"])
    ]
    assert front(space, table, convention) == brute_force(space, table, convention)


def test_the_front_of_thousands_of_architectures_is_that_of_all():
    space = Space(name="s", embed_dim=(16, 24), depth=(1, 2, 3, 4), num_heads=(2, 4), mlp_ratio=(1, 1.3, 3))
    table = RateTable(task=TASK, entries=Drawn())
    assert space.size == 3_108
    assert front(space, table, DEFAULT) == brute_force(space, table)


@pytest.mark.parametrize(
    "bounds",
    [{"max_params": 12_000}, {"min_params": 9_000, "max_depth": 2}, {"max_flops": 4e5}, {"max_energy_mj": 3e-4}],
)
def test_bounds_leave_the_front_of_the_architectures_that_keep_them(bounds):
    space = Space(name="s", embed_dim=(16, 24), depth=(1, 2, 3), num_heads=(2, 4), mlp_ratio=(1, 1.3, 3))
    table, constraints = RateTable(task=TASK, entries=Drawn()), Constraints(**bounds)
    expected = brute_force(space, table, constraints=constraints)
    assert 0 < len(expected) < len(brute_force(space, table))
    assert front(space, table, DEFAULT, constraints) == expected


def test_a_space_with_too_many_classes_has_its_front_from_a_table(cli, tmp_path, monkeypatch):
    monkeypatch.setattr(exact_module, "MOST_CLASSES", 2)
    (tmp_path / "s.toml").write_text("embed_dim = [16, 32]\ndepth = [1, 2, 3]\nnum_heads = [2]\nmlp_ratio = [1, 2]\n")
    assert cli("study", "create", "s", "--space", "s.toml", "--task", "digits").exit_code == 0
    made = cli("study", "exact", "s", "--measure", "3")
    assert made.exit_code == 0, made.output
    assert "table of 26 parts in " in made.stdout
    assert "front of all 28 architectures under it in " in made.stdout
    scaling = {one.key for one in scaling_networks(Space.load("s.toml"), 0)}  # which tell nothing about its error
    assert len(scaling) > 8
    assert f"energies of the table differ from {28 - len(scaling)} measured random networks by " in made.stdout
    assert re.search(r"exact front under it: 3 members and \d+ known by the table alone, hypervolume 0\.", made.stdout)
    stored = open_search("s", str(tmp_path / "autost.journal")).exact()
    assert ExactFront.from_dict(json.loads(json.dumps(stored.to_dict()))) == stored
    assert (stored.table.samples, stored.table.largest < 0.1) == (28 - len(scaling), True)
    assert math.isfinite(stored.hypervolume)
    two = cli("study", "exact", "s", "--pick", "2").stdout.splitlines()
    assert [line.split()[0] for line in two[:4]] == ["member", "2", "3", "table"]
    assert "no member of the front costs at most 1e-09 mJ" in cli("study", "exact", "s", "--max-energy", "1e-9").stderr
    shown = json.loads(cli("study", "exact", "s", "-f", "json").stdout)
    assert (len(shown["members"]), shown["table"]["entries"]) == (3, 26)


def test_spots_know_how_many_branches_came_before():
    space = Space.from_dict({**PYRAMID, "stem": ["qkformer"], "shared": "block"}, name="s")
    architecture = space.largest
    found = [(slot.before, slot.since) for slot, _ in slots_of(layout_of(architecture), chain(architecture, TASK))]
    assert found == [(0, 0), (0, 0), (1, 1), (2, 2), (3, 3), (4, 0), (4, 0), (5, 1), (6, 2), (7, 3), (8, 0)]


@pytest.mark.parametrize("seed", range(12))
def test_any_number_of_networks_cost_what_each_costs(seed):
    space = random_space(seed)
    table = RateTable(task=TASK, entries=Drawn())
    convention = list(CONVENTIONS.values())[seed % len(CONVENTIONS)]
    outlays = Outlays(space, table, convention)
    drawn = outlays.draw(60, seed)
    networks = outlays.architectures(drawn)
    assert all(one in space for one in networks)
    found = outlays.of(drawn)
    for place, one in enumerate(networks):
        assert found.flops[place] == count_flops(one, TASK)
        assert found.params[place] == count_params(one, TASK)
        assert found.energy_mj[place] == pytest.approx(energy(table, one, convention), rel=1e-12)
    again = outlays.words(networks)
    assert (again.shapes == drawn.shapes).all()
    assert (again.letters == drawn.letters).all()


def test_drawn_networks_are_spread_over_the_space_and_repeat_with_their_seed():
    space = Space(name="s", embed_dim=(16, 32), depth=(1, 2), num_heads=(2, 4), mlp_ratio=(1, 2))
    outlays = Outlays(space, RateTable(task=TASK, entries=Drawn()), DEFAULT)
    many = outlays.draw(100_000)
    assert len(set(outlays.architectures(outlays.draw(2_000)))) == space.size == 40
    assert (many.letters == outlays.draw(100_000).letters).all()
    assert (many.letters != outlays.draw(100_000, seed=1).letters).any()
    whole = outlays.of(many)
    split = [outlays.of(Words(many.shapes[part], many.letters[part])) for part in (slice(50_000), slice(50_000, None))]
    assert (whole.energy_mj == [*split[0].energy_mj, *split[1].energy_mj]).all()
    assert len(outlays.of(outlays.draw(0)).flops) == 0
    wide = Architecture.uniform(embed_dim=64, depth=1, num_heads=2, mlp_ratio=1)
    with pytest.raises(ValueError, match=r"C=64,.* is not in the space s; choose among its networks"):
        outlays.words([wide])
