import dataclasses
import json
from pathlib import Path

import optuna
import pytest

from autost_optuna import Architecture, DeclaredNSGAIISampler, Space, Task

FORM = ("name", "uniform", "dividing_heads", "shared")  # how fields are chosen, not what of
TOY = Space(name="toy", embed_dim=(16, 32), depth=(1, 2, 3), num_heads=(2, 4), mlp_ratio=(1, 2))
DIVIDING = Space(
    name="d", embed_dim=(16, 24, 40), depth=(1, 2), num_heads=(2, 3, 4, 5), mlp_ratio=(1, 2), dividing_heads=True
)


@pytest.mark.parametrize(
    ("name", "size", "classes", "uniform"),
    [  # REFERENCE table of AutoST's three spaces
        ("tiny", 2.90e8, 480, 240),
        ("small", 1.31e10, 825, 330),
        ("base", 2.82e14, 2478, 672),
    ],
)
def test_published_spaces_have_their_published_sizes(name, size, classes, uniform):
    space = Space.load(name)
    assert space.size == pytest.approx(size, rel=0.005)
    assert space.num_classes == classes
    assert Space.load(name, uniform=True).size == uniform == len(list(Space.load(name, uniform=True).enumerate()))


def test_tiny_by_hand():
    assert Space.load("tiny").size == 4 * sum(6**depth for depth in range(1, 11))


def test_fields_are_those_of_an_architecture():
    fields = [field.name for field in dataclasses.fields(Architecture)]
    assert [f.name for f in dataclasses.fields(Space) if f.name not in (*FORM, "genes")] == fields


@pytest.mark.parametrize("uniform", [False, True])
@pytest.mark.parametrize("space", [TOY, DIVIDING], ids=["toy", "dividing"])
def test_enumeration_is_the_space_each_architecture_once(space, uniform):
    space = dataclasses.replace(space, uniform=uniform)
    keys = [architecture.key for architecture in space.enumerate()]
    assert len(keys) == len(set(keys)) == space.size
    assert all(architecture in space for architecture in space.enumerate())
    sums = {(a.embed_dim, a.depth, sum(a.mlp_ratio)) for a in space.enumerate()}
    assert len(sums) == space.num_classes


def test_suggestions_lie_in_the_space_under_readable_names(toy_space):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(50):
        trial = study.ask()
        architecture = toy_space.suggest(trial)
        assert architecture in toy_space
        expected = {"embed_dim", "depth"}
        for block in range(1, architecture.depth + 1):
            expected |= {f"num_heads_{block:02d}", f"mlp_ratio_{block:02d}"}
        assert set(trial.params) == expected


def test_each_width_has_the_heads_that_divide_it():
    assert [DIVIDING.heads_of(dim) for dim in DIVIDING.embed_dim] == [(2, 4), (2, 3, 4), (2, 4, 5)]
    # (2 heads x 2 ratios), (3 x 2) and (3 x 2) kinds of block; one or two blocks.
    assert DIVIDING.size == (4 + 16) + (6 + 36) + (6 + 36)
    assert dataclasses.replace(DIVIDING, uniform=True).size == 2 * (4 + 6 + 6)
    assert (DIVIDING.smallest.num_heads, DIVIDING.largest.num_heads) == ((2,), (5, 5))
    assert Architecture.uniform(embed_dim=24, depth=1, num_heads=6, mlp_ratio=1) not in DIVIDING
    assert Architecture.uniform(embed_dim=24, depth=1, num_heads=3, mlp_ratio=1) in DIVIDING
    assert Space.from_dict(json.loads(json.dumps(DIVIDING.to_dict()))) == DIVIDING
    assert "dividing_heads" not in TOY.to_dict()  # what it stores is what it stored before there were such spaces
    same = dataclasses.replace(TOY, dividing_heads=True)  # both heads divide both widths
    assert (same.size, same.distributions()) == (TOY.size, TOY.distributions())
    assert "2, 3, 4, 5, of these the ones that divide the width" in DIVIDING._repr_html_()


def test_heads_of_some_widths_are_parameters_of_their_own_that_any_sampler_can_draw():
    names = list(DIVIDING.distributions())
    first = ["num_heads_01_of_2_4", "num_heads_01_of_2_3_4", "num_heads_01_of_2_4_5", "mlp_ratio_01"]
    assert names == ["embed_dim", "depth", *first, *(name.replace("01", "02") for name in first)]
    assert list(TOY.distributions())[:4] == ["embed_dim", "depth", "num_heads_01", "mlp_ratio_01"]
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    seen = set()
    for _ in range(200):
        trial = study.ask()
        architecture = DIVIDING.suggest(trial)
        assert architecture in DIVIDING
        assert set(trial.params) == DIVIDING.active(trial.params)
        assert all(trial.distributions[name] == DIVIDING.distributions()[name] for name in trial.params)
        assert DIVIDING.architecture(trial.params) == architecture
        seen |= {(architecture.embed_dim, heads) for heads in architecture.num_heads}
    assert seen == {(dim, heads) for dim in DIVIDING.embed_dim for heads in DIVIDING.heads_of(dim)}


@pytest.mark.parametrize("uniform", [False, True])
def test_a_search_of_dividing_heads_draws_each_architecture_once_and_then_stops(uniform):
    space = dataclasses.replace(DIVIDING, uniform=uniform)
    sampler = DeclaredNSGAIISampler(space.distributions(), active=space.active, population_size=8, seed=0)
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    drawn = []

    def objective(trial):
        drawn.append(space.suggest(trial))
        return drawn[-1].embed_dim, sum(drawn[-1].num_heads)

    study.optimize(objective, n_trials=200)
    assert len(drawn) == len(set(drawn)) == space.size
    assert set(drawn) == set(space.enumerate())


def test_autoformers_space_of_the_examples():
    space = Space.load(str(Path(__file__).parent.parent / "examples" / "autoformer_s.toml"))
    assert space.size == 3 * sum(3**depth for depth in (12, 13, 14))
    assert [space.heads_of(dim) for dim in space.embed_dim] == [(5,), (6,), (7,)]
    space.check(Task.preset("imagenet"))


def test_unevenly_spaced_choices_are_suggested_too():
    space = Space(name="odd", embed_dim=(16, 24, 64), depth=(2,), num_heads=(2, 8), mlp_ratio=(1, 2.5))
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    seen = {space.suggest(study.ask()).embed_dim for _ in range(60)}
    assert seen == {16, 24, 64}


def test_files_of_both_kinds(tmp_path):
    own = tmp_path / "own.toml"
    own.write_text("embed_dim = [64, 128]\ndepth = [2, 1]\nnum_heads = [4]\nmlp_ratio = [2, 2.5]\nuniform = true\n")
    space = Space.load(str(own))
    assert (space.name, space.depth, space.mlp_ratio, space.uniform) == ("own", (1, 2), (2, 2.5), True)
    assert Space.from_dict(space.to_dict()) == space
    theirs = tmp_path / "autost.yaml"
    theirs.write_text(
        "SEARCH_SPACE:\n  MLP_RATIO: [3, 4]\n  NUM_HEADS: [4, 8]\n  DEPTH: [1, 2]\n  EMBED_DIM: [192]\nSUPERNET: {}\n"
    )
    assert Space.load(str(theirs)).embed_dim == (192,)
    theirs.write_text(
        "SEARCH_SPACE:\n  MLP_RATIO: [3]\n  NUM_HEADS: [5, 6]\n  DEPTH: [1]\n  EMBED_DIM: [320, 384]\n  DIVIDING_HEADS: true\n"
    )
    assert Space.load(str(theirs)).size == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("embed_dim = [64]\nwidth = [2]", "unknown key 'width'; allowed are name, embed_dim, depth, num_heads"),
        (
            "embed_dim = [64]\ndepth = [1]\nnum_heads = [4]",
            "lacks the key 'mlp_ratio'; it needs embed_dim, depth",
        ),
        ("embed_dim = [64]\ndepth = []\nnum_heads = [4]\nmlp_ratio = [4]", "depth \\[\\] is not a list of choices"),
        ("embed_dim = 64\ndepth = [1]\nnum_heads = [4]\nmlp_ratio = [4]", "embed_dim 64 is not a list"),
        ("embed_dim = [64, 64]\ndepth = [1]\nnum_heads = [4]\nmlp_ratio = [4]", "names a choice twice"),
        ("embed_dim = [64]\ndepth = [1]\nnum_heads = [5]\nmlp_ratio = [4]", "num_heads 5 does not divide embed_dim 64"),
        (
            "embed_dim = [64, 80]\ndepth = [1]\nnum_heads = [5]\nmlp_ratio = [4]",
            "num_heads 5 does not divide embed_dim 64; .* or set dividing_heads to true, so that each width has those",
        ),
        (
            "embed_dim = [64, 80]\ndepth = [1]\nnum_heads = [5]\nmlp_ratio = [4]\ndividing_heads = true",
            "none of num_heads divides embed_dim 64; add one that does",
        ),
        (
            "embed_dim = [64, 80]\ndepth = [1]\nnum_heads = [4, 7]\nmlp_ratio = [4]\ndividing_heads = true",
            "num_heads 7 divides no width; leave it out",
        ),
        (
            "embed_dim = [64]\ndepth = [1]\nnum_heads = [4]\nmlp_ratio = [4]\ndividing_heads = 1",
            "dividing_heads 1 is not true or false",
        ),
        ("embed_dim = [60]\ndepth = [1]\nnum_heads = [5]\nmlp_ratio = [4]", "multiple of 8"),
        ("embed_dim = ['a']\ndepth = [1]\nnum_heads = [4]\nmlp_ratio = [4]", "embed_dim 'a'"),
        ("embed_dim = [64", "is not TOML"),
    ],
)
def test_wrong_files_are_refused_with_key_and_remedy(tmp_path, text, said):
    path = tmp_path / "wrong.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=said):
        Space.load(str(path))


def test_unknown_names_and_files():
    with pytest.raises(ValueError, match="choose one of tiny, small, base, families, compact"):
        Space.load("huge")
    with pytest.raises(ValueError, match="does not exist"):
        Space.load("nowhere.toml")


def test_a_space_beyond_the_task_is_refused():
    wide = Space(name="wide", embed_dim=(64, 4096), depth=(1,), num_heads=(4,), mlp_ratio=(4,))
    with pytest.raises(ValueError, match="embed_dim 4096 is over the bound 2048 of task cifar10"):
        wide.check(Task.preset("cifar10"))


@pytest.mark.parametrize(
    ("size", "pooling", "tokens"),
    [(32, "0011", 64), (224, "1111", 196), (128, "1111", 64), (8, "0001", 16), (9, "0001", 25)],
)
def test_tokens_of_a_task(size, pooling, tokens):
    assert Task(name="t", image_size=size, channels=3, num_classes=2, pooling=pooling).num_tokens == tokens


@pytest.mark.parametrize("fields", [{"image_size": 0}, {"pooling": "011"}, {"pooling": "0021"}, {"time_steps": 0}])
def test_what_is_no_task_is_refused(fields):
    with pytest.raises(ValueError, match=next(iter(fields))):
        Task(**{"name": "t", "image_size": 8, "channels": 1, "num_classes": 2, **fields})


def test_spaces_can_be_keys():
    assert len({TOY, dataclasses.replace(TOY), DIVIDING}) == 2


def test_a_space_that_names_what_is_usual_is_the_usual_one():
    named = Space.from_dict({**TOY.to_dict(), "mixer": ["ssa"], "neuron": ["plif"]})
    assert named == TOY
    assert hash(named) == hash(TOY)
    assert Space.from_dict(named.to_dict()) == named
    with pytest.raises(ValueError, match="num_heads is not one of genes"):
        Space(name="s", embed_dim=(16,), depth=(1,), mlp_ratio=(1,), genes={"num_heads": (4,)})
