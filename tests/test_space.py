import dataclasses

import optuna
import pytest

from autost_optuna import Architecture, Space, Task


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
    assert [f.name for f in dataclasses.fields(Space) if f.name not in ("name", "uniform")] == fields


@pytest.mark.parametrize("uniform", [False, True])
def test_enumeration_is_the_space_each_architecture_once(toy_space, uniform):
    space = dataclasses.replace(toy_space, uniform=uniform)
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
    with pytest.raises(ValueError, match="choose tiny, small or base"):
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
