import csv
import io
import itertools
import json

import pytest

from autost_optuna import Architecture, Objective, Space
from autost_optuna.delivery.board import figures_of
from autost_optuna.front.front import hypervolume, nondominated
from autost_optuna.proxies.flops import count_flops, count_params
from autost_optuna.search import study as studies
from autost_optuna.search.exact import (
    ExactFront,
    class_of,
    count_classes,
    exact_front,
    is_enumerable,
    representatives,
    siblings,
)
from autost_optuna.search.objective import measure_box
from autost_optuna.search.runner import run
from autost_optuna.search.settings import Plan
from autost_optuna.search.study import find_exact, open_search
from autost_optuna.search.summary import reached

UNEVEN = Space(name="uneven", embed_dim=(16, 24), depth=(2, 4), num_heads=(2, 4), mlp_ratio=(1, 1.3, 2, 3.7))


DIVIDING = Space(
    name="d", embed_dim=(16, 24, 40), depth=(1, 2), num_heads=(3, 4, 5), mlp_ratio=(1, 2), dividing_heads=True
)


PATCHES = Space(
    name="p",
    embed_dim=(16,),
    depth=(5,),
    num_heads=(4,),
    mlp_ratio=(1,),
    mixer=("dssa",),
    genes={"patch": (1, 2, 4)},
    form={"stem": ("sdt",), "pooling": ("0000",)},
)


@pytest.fixture(params=["toy", "uneven", "uniform", "dividing"])
def space(request, toy_space):
    uniform = Space(name="u", embed_dim=(16, 32), depth=(1, 3), num_heads=(2, 4), mlp_ratio=(1, 2), uniform=True)
    return {"toy": toy_space, "uneven": UNEVEN, "uniform": uniform, "dividing": DIVIDING}[request.param]


def test_the_presets_have_the_known_numbers_of_classes():
    counts = {name: count_classes(Space.load(name)) for name in ("tiny", "small", "base")}
    assert counts == {"tiny": 480, "small": 825, "base": 2478}
    assert [count_classes(Space.load(name, uniform=True)) for name in counts] == [240, 330, 672]


def test_classes_by_hand():
    # Two blocks of ratio 1, 2 or 3 at width 16: sums of hidden units 32, 48, 64, 80, 96.
    space = Space(name="s", embed_dim=(16,), depth=(2,), num_heads=(2, 4), mlp_ratio=(1, 2, 3))
    chosen = list(representatives(space))
    assert [a.mlp_ratio for a in chosen] == [(1, 1), (2, 1), (3, 1), (3, 2), (3, 3)]
    assert {a.num_heads for a in chosen} == {(4, 4)}


def test_each_class_of_the_whole_space_has_one_representative(space):
    chosen = list(representatives(space))
    assert len(chosen) == count_classes(space) == len(set(chosen))
    assert all(architecture in space for architecture in chosen)
    if space.uniform:
        assert set(chosen) == set(space.enumerate())
    else:
        assert len({class_of(a) for a in chosen}) == len(chosen)
        assert {class_of(a) for a in chosen} == {class_of(a) for a in space.enumerate()}


@pytest.mark.parametrize("space", [UNEVEN, PATCHES], ids=["uneven", "patches"])
@pytest.mark.slow
def test_a_class_is_what_flops_and_parameters_depend_on(space, toy_task):
    figures = {}
    for architecture in space.enumerate():
        counts = count_flops(architecture, toy_task), count_params(architecture, toy_task)
        assert figures.setdefault(class_of(architecture), counts) == counts


def test_representatives_come_after_the_one_that_they_extend():
    space = Space.load("small")
    seen = set()
    for architecture in representatives(space):
        blocks = architecture.embed_dim, architecture.mlp_ratio
        assert architecture.depth == space.depth[0] or (blocks[0], blocks[1][:-1]) in seen
        seen.add(blocks)


def test_siblings_share_a_class_and_are_of_the_space():
    mixed = list(siblings(list(representatives(DIVIDING)), DIVIDING, 200, seed=0))
    assert len(mixed) > 50
    assert all(a in DIVIDING for a in mixed)
    chosen = list(representatives(UNEVEN))
    drawn = list(siblings(chosen, UNEVEN, 200, seed=0))
    assert 150 < len(drawn) <= 200
    assert {class_of(a) for a in drawn} <= {class_of(a) for a in chosen}
    assert all(a in UNEVEN and a not in chosen[:1] for a in drawn)
    assert len({tuple(sorted(a.mlp_ratio)) for a in drawn}) > len({class_of(a) for a in drawn}) / 2
    assert drawn == list(siblings(chosen, UNEVEN, 200, seed=0)) != list(siblings(chosen, UNEVEN, 200, seed=1))


@pytest.mark.parametrize("space", ["toy", "uniform", "dividing"], indirect=True)
@pytest.mark.slow
def test_the_exact_front_is_that_of_the_enumerated_space(space, toy_task):
    objective = Objective(space, toy_task)
    box = measure_box(objective)
    every = [objective.evaluate(architecture) for architecture in space.enumerate()]
    truth = hypervolume(every, box)
    found = exact_front(Objective(space, toy_task), box)
    assert found.classes == count_classes(space)
    if space.uniform:
        expected = [(c.architecture, c.flops, c.energy_mj) for c in nondominated(every)]
        assert [(m.architecture, m.flops, m.energy_mj) for m in found.members] == expected
        assert found.spread is None
        assert found.hypervolume == found.best_hypervolume == truth
        return
    assert {m.flops for m in found.members} <= {c.flops for c in every}
    energies = {class_of(a): objective.evaluate(a).energy_mj for a in representatives(space)}
    off = [c.energy_mj / energies[class_of(c.architecture)] - 1 for c in every]
    assert min(off) <= found.spread.low <= found.spread.mean <= found.spread.high <= max(off)
    assert found.hypervolume <= truth
    assert found.hypervolume == pytest.approx(truth, rel=0.01)
    assert found.hypervolume <= found.best_hypervolume


def test_a_stored_front_reads_back_equal(toy_space, toy_task):
    objective = Objective(toy_space, toy_task)
    found = exact_front(objective, measure_box(objective), samples=20)
    assert ExactFront.from_dict(json.loads(json.dumps(found.to_dict()))) == found


def test_a_space_that_is_too_large_is_refused_with_its_count(toy_task, tmp_path):
    odd = tuple(round(1 + k * 0.173, 3) for k in range(12))
    vast = Space(
        name="vast", embed_dim=tuple(range(8, 801, 8)), depth=tuple(range(1, 25)), num_heads=(4,), mlp_ratio=odd
    )
    assert not is_enumerable(vast)
    search = studies.create("s", str(tmp_path / "s.journal"), Plan(space=vast, task=toy_task))
    with pytest.raises(
        ValueError, match=r"vast needs the rates of 31,200 parts at places, over the bound 20,000; offer fewer"
    ):
        find_exact(search)


@pytest.mark.slow
def test_a_search_knows_how_near_it_came(toy_space, toy_task, tmp_path):
    storage = str(tmp_path / "s.journal")
    search = studies.create("s", storage, Plan(space=toy_space, task=toy_task))
    assert reached(search) is None
    seen = []
    exact = find_exact(search, on_done=lambda done, total: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1] == len(seen)
    assert not search.study.trials
    assert reached(search) is None  # no trial yet
    run(search, trials=60)
    again = open_search("s", storage)
    assert again.exact() == exact == find_exact(again)
    near = reached(again)
    candidates = again.candidates()
    box = again.settings.box
    volumes = [hypervolume(candidates[:count], box) for count in range(1, len(candidates) + 1)]
    assert near.share == pytest.approx(volumes[-1] / exact.hypervolume)
    assert 0.9 < near.share < 1.01
    first = next(count for count, volume in enumerate(volumes, 1) if volume == pytest.approx(volumes[-1], rel=1e-12))
    assert near.trials == first
    assert volumes[near.trials_to_95 - 1] >= 0.95 * exact.hypervolume > volumes[near.trials_to_95 - 2]


@pytest.mark.slow
def test_members_are_listed_and_other_commands_point_to_what_works_with_them(cli, tmp_path):
    (tmp_path / "s.toml").write_text(
        "embed_dim = [16, 32]\ndepth = [1]\nnum_heads = [2]\nmlp_ratio = [1, 2]\nuniform = true\n"
    )
    assert cli("study", "create", "s", "--space", "s.toml", "--task", "digits").exit_code == 0
    found = json.loads(cli("study", "exact", "s", "-f", "json").stdout)
    members = [Architecture.from_dict(row["architecture"]) for row in found["members"]]
    assert len(members) == 4
    assert {row["number"] for row in found["members"]} == {None}
    stored = find_exact(open_search("s", "autost.journal"))
    assert [(m.architecture, m.energy_mj) for m in stored.members] == list(
        zip(members, [row["energy_mj"] for row in found["members"]], strict=True)
    )
    table = cli("study", "exact", "s")
    assert [line.split()[-1] for line in table.stdout.splitlines()[1:5]] == [m.to_text() for m in members]
    assert [line.split()[0] for line in table.stdout.splitlines()[1:5]] == ["1", "2", "3", "4"]
    assert "optuna describe s:exact:N audits member N, autost-optuna train s --exact K trains K of them" in table.stderr
    audit = json.loads(cli("describe", "s:exact:3", "-f", "json").stdout)
    assert (audit["architecture"], audit["energy_mj"]) == (members[2].to_dict(), stored.members[2].energy_mj)
    few = ("--epochs", 1, "--images", 40, "--eval-images", 10, "--test-images", 10)
    assert cli("train", "s", "--network", "s:exact:2", *few).exit_code == 0
    for source, said in {
        "s:exact:5": "the exact front of s has no member 5; choose 1 to 4",
        "s:exact:0": "the exact front of s has no member 0; choose 1 to 4",
        "s:exact:x": "member 'x' in 's:exact:x' is not a number; write STUDY:exact:N, such as demo:exact:17",
    }.items():
        assert cli("describe", source).stderr == f"error: {said}\n"
    assert cli("study", "create", "t", "--space", "s.toml", "--task", "digits").exit_code == 0
    assert cli("describe", "t:exact:1").stderr == (
        "error: study t has no exact front; autost-optuna study exact t measures it\n"
    )
    lines = list(csv.DictReader(io.StringIO(cli("study", "exact", "s", "-f", "csv").stdout)))
    assert [(line["number"], line["num_heads"], float(line["energy_mj"])) for line in lines] == [
        ("", "2", row["energy_mj"]) for row in found["members"]
    ]
    shown = json.loads(cli("study", "show", "s", "-f", "json").stdout)
    assert (shown["exact"], shown["exact_front"]) == (None, found["members"])
    assert (
        "exact front  4 members, which autost-optuna study exact s prints; no trial yet"
        in cli("study", "show", "s").stdout
    )
    for command in (
        "study front s",
        "study front s --max-energy 1",
        "study front s --pick 2",
        "study report s -o a.html",
        "train s --knee",
        "export s --trial 0 -o a",
    ):
        refused = cli(*command.split())
        assert refused.exit_code == 2
        assert refused.stderr == (
            "error: study s has no complete trial yet; run autost-optuna study run s --trials 100; autost-optuna study front "
            "s --exact prints the 4 members of its exact front, and autost-optuna study exact s --enqueue K makes K of them "
            "trials\n"
        )
    assert not (tmp_path / "a.html").exists()
    drawn = cli("study", "plot", "s", "-o", "a.json")  # without trials it is of the exact front
    assert drawn.exit_code == 0, drawn.output
    assert json.loads((tmp_path / "a.json").read_text())["data"][0]["customdata"][2][1] == members[2].in_words()
    beside = cli("study", "baseline", "s", "s:exact:1", "-f", "json")
    assert json.loads(beside.stdout)[0]["energy_mj"] == found["members"][0]["energy_mj"]
    assert cli("study", "run", "s", "--trials", "100").exit_code == 0
    front = json.loads(cli("study", "front", "s", "-f", "json").stdout)
    assert json.loads(cli("study", "exact", "s", "-f", "json").stdout)["members"] == front
    assert "exact front: autost-optuna study front s --exact prints its 4 members" in cli("study", "front", "s").stderr


@pytest.mark.slow
def test_members_of_the_exact_front_go_wherever_members_go(cli, tmp_path):
    (tmp_path / "s.toml").write_text("embed_dim = [16]\ndepth = [1, 2]\nnum_heads = [2]\nmlp_ratio = [1, 2]\n")
    assert cli("study", "create", "s", "--space", "s.toml", "--task", "digits").exit_code == 0
    for words in ("study front s --exact", "train s --exact 2", "export s --exact 1 -o a"):
        said = cli(*words.split())
        assert said.exit_code == 2
        assert said.stderr == "error: study s has no exact front; autost-optuna study exact s measures it\n"
    every = json.loads(cli("study", "exact", "s", "-f", "json").stdout)["members"]
    again = cli("study", "front", "s", "--exact", "-f", "json")
    assert json.loads(again.stdout)["members"] == every
    assert len(every) == 5
    two = cli("study", "front", "s", "--exact", "--pick", "2", "-f", "csv").stdout
    assert two.count("\n") == 3
    assert cli("study", "front", "s", "--exact").stdout.splitlines()[4].split()[0] == "4"
    for option in ("--spread", "--trained"):
        assert cli("study", "front", "s", "--exact", option).exit_code == 2
    trained = cli(*["train", "s", "--exact", "2", "--epochs", "1", "--images", "40", "--test-images", "20"])
    assert trained.exit_code == 0, trained.output
    folders = sorted(path.name for path in (tmp_path / "trained").iterdir() if path.is_dir())
    picks = [int(name.removeprefix("s-exact-")) for name in folders]
    assert len(picks) == 2
    rows = json.loads(cli("study", "front", "s", "--trained", "-f", "json").stdout)
    assert {json.dumps(row["architecture"]) for row in rows} <= {
        json.dumps(every[place - 1]["architecture"]) for place in picks
    }
    taken = cli("export", "s", "--exact", "1", "-o", "bundle")
    assert taken.exit_code == 0, taken.output
    assert taken.stdout.startswith("wrote bundle: exact-1, ")
    assert json.loads((tmp_path / "bundle" / "architecture.json").read_text()) == every[0]["architecture"]
    wrong = cli("export", "s", "--exact", "9", "-o", "b")
    assert wrong.stderr == "error: the exact front of s has no member 9; choose 1 to 5\n"
    for count in (2, 2, 3):  # again without doing it twice
        queued = cli("study", "exact", "s", "--enqueue", str(count))
        assert queued.exit_code == 0, queued.output
    assert "1 member queued; the next study run begins with what is queued" in queued.stderr
    assert cli("study", "run", "s", "--trials", "3").exit_code == 0
    front = json.loads(cli("study", "front", "s", "-f", "json").stdout)
    assert len(front) == 3
    assert [row["energy_mj"] for row in front] == [
        one["energy_mj"] for one in every if one["architecture"] in [row["architecture"] for row in front]
    ]
    assert cli("study", "plot", "s", "-o", "front.json").exit_code == 0


def test_every_class_extreme_is_an_architecture_of_the_space():
    space = Space.load("base")
    chosen = set(representatives(space))
    for dim, depth in itertools.product(space.embed_dim, space.depth):
        for ratio in (space.mlp_ratio[0], space.mlp_ratio[-1]):
            assert Architecture.uniform(embed_dim=dim, depth=depth, num_heads=8, mlp_ratio=ratio) in chosen


def test_classes_of_many_mixers_are_counted_to_a_bound():
    """Bodies of five kinds and twenty footprints: the count stops soon, also if only one deep choice counts."""
    many = Space(
        name="many",
        embed_dim=(64,),
        depth=(30,),
        mixer=("ssa", "depthwise", "identity"),
        num_heads=(4,),
        genes={"kernel": (3, 5, 7)},
        mlp_ratio=(1, 2, 3, 4),
    )
    assert count_classes(many) > 100_000
    assert not is_enumerable(many)


def test_the_exact_front_is_drawn_by_itself(cli, tmp_path):
    (tmp_path / "s.toml").write_text("embed_dim = [16]\ndepth = [1, 2]\nnum_heads = [2]\nmlp_ratio = [1, 2]\n")
    assert cli("study", "create", "s", "--space", "s.toml", "--task", "digits").exit_code == 0
    refused = cli("study", "plot", "s", "--exact", "-o", "a.json")
    assert refused.stderr == "error: study s has no exact front; autost-optuna study exact s measures it\n"
    every = json.loads(cli("study", "exact", "s", "-f", "json").stdout)["members"]
    search = open_search("s", "autost.journal")
    assert list(figures_of(search.study)) == ["front"]  # in the dashboard, before there is any trial
    assert "5 members of the exact front of 6 architectures of s; " in figures_of(search.study)["front"]
    assert cli("study", "baseline", "s", "C=16,depth=1,heads=4,ratio=1").exit_code == 0
    assert cli("study", "run", "s", "--trials", "2").exit_code == 0
    for words in ("", "--pick 2", f"--max-energy {every[1]['energy_mj']}"):
        drawn = cli("study", "plot", "s", "--exact", *words.split(), "-o", "a.json")
        assert drawn.exit_code == 0, drawn.output
        figure = json.loads((tmp_path / "a.json").read_text())
        front, *others = figure["data"]
        assert front["name"] == "exact front (5 classes)"
        assert front["x"] == [row["energy_mj"] for row in every]
        assert [int(place) for place, *_ in front["customdata"]] == [1, 2, 3, 4, 5]
        assert "autost-optuna export s --exact %{customdata[0]} -o member-%{customdata[0]}" in front["hovertemplate"]
        named = {trace["name"]: trace for trace in others if trace.get("name")}
        knee = named["knee"]["customdata"][0][0]
        picks = [place for place, *_ in named.get("2 picks", named.get("1 pick", {"customdata": []}))["customdata"]]
        assert len(picks) == {"": 0, "--pick 2": 2}.get(words, 1)
        title = figure["layout"]["title"]["text"]
        assert f"(member {knee}, C 16" in title or (picks == ["2"] and "(member 2, C 16" in title)
    for words in ("--exact --quantised", "--exact --trained", "--exact --figure genes"):
        refused = cli("study", "plot", "s", *words.split(), "-o", "b.json")
        assert refused.exit_code == 2
        assert refused.stderr.count("\n") == 1
    assert not (tmp_path / "b.json").exists()
