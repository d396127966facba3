import dataclasses
import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from autost_optuna import Architecture
from autost_optuna.network.form import Form
from autost_optuna.network.parts.identity import Identity

architectures = st.integers(1, 6).flatmap(
    lambda depth: st.builds(
        lambda eighths, heads, ratios: Architecture(
            embed_dim=8 * eighths, depth=depth, num_heads=tuple(heads), mlp_ratio=tuple(ratios)
        ),
        st.integers(1, 64),
        st.lists(st.sampled_from([1, 2, 4, 8]), min_size=depth, max_size=depth),
        st.lists(st.sampled_from([1, 2, 3, 4.0, 2.5]), min_size=depth, max_size=depth),
    )
)


@given(architectures)
def test_every_form_gives_the_architecture_back(architecture):
    assert Architecture.from_dict(json.loads(json.dumps(architecture.to_dict()))) == architecture
    assert Architecture.from_autost(yaml.safe_load(yaml.safe_dump(architecture.to_autost()))) == architecture
    assert Architecture.from_text(architecture.to_text()) == architecture


@given(architectures, architectures)
def test_keys_are_equal_exactly_where_architectures_are(one, other):
    assert (one.key == other.key) == (one == other)
    assert one != other or hash(one) == hash(other)


def test_whole_ratios_are_one_architecture_however_written():
    ints = Architecture.uniform(embed_dim=64, depth=2, num_heads=4, mlp_ratio=4)
    floats = Architecture.uniform(embed_dim=64, depth=2, num_heads=4, mlp_ratio=4.0)
    assert ints.key == floats.key == "C64-d2-h4.4-r4_4"


def test_keys_tell_a_ratio_of_2_5_from_ratios_of_2_and_5():
    one = Architecture(embed_dim=64, depth=2, num_heads=(4, 4), mlp_ratio=(2.5, 1))
    assert one.key == "C64-d2-h4.4-r2.5_1"


def test_autost_yaml_as_its_authors_write_it(tmp_path):
    path = tmp_path / "chosen.yaml"
    path.write_text("MODEL: x\nRETRAIN:\n  MLP_RATIO: [3, 4.0]\n  NUM_HEADS: [4, 8]\n  DEPTH: 2\n  EMBED_DIM: 192\n")
    expected = Architecture(embed_dim=192, depth=2, num_heads=(4, 8), mlp_ratio=(3, 4))
    assert Architecture.load(path) == expected


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"embed_dim": 0}, "embed_dim 0"),
        ({"embed_dim": 100}, "embed_dim 100 is not a multiple of 8"),
        ({"embed_dim": 64.0}, "embed_dim 64.0"),
        ({"embed_dim": True}, "embed_dim True"),
        ({"depth": 3}, "num_heads lists 2 values for depth 3"),
        ({"num_heads": (4, 7)}, "num_heads 7 does not divide embed_dim 64"),
        ({"num_heads": (4, 0)}, "num_heads 0"),
        ({"num_heads": 4}, "num_heads 4 is not a list"),
        ({"num_heads": "48"}, "num_heads '48' is not a list"),
        ({"mlp_ratio": (4, -1)}, "mlp_ratio -1"),
        ({"mlp_ratio": (4, float("nan"))}, "mlp_ratio nan"),
        ({"mlp_ratio": (4, "4")}, "mlp_ratio '4'"),
        ({"mlp_ratio": (4, 0.001)}, "mlp_ratio 0.001 leaves no hidden unit"),
        ({"form": "sdt"}, "form 'sdt' is not a Form"),
        ({"form": Form(feed_forward=["mlp"])}, r"feed_forward \['mlp'\] is unknown; choose one of mlp, "),
        (
            {"embed_dim": 70, "depth": 3, "form": Form(stem="qkformer", depths=(1, 1, 1))},
            "embed_dim 70 cannot be halved",
        ),
    ],
)
def test_what_is_no_network_is_refused_with_its_value(changes, said):
    fields = {"embed_dim": 64, "depth": 2, "num_heads": (4, 4), "mlp_ratio": (4, 4)}
    with pytest.raises(ValueError, match="^" + said.replace("(", r"\(")):
        Architecture(**{**fields, **changes})


@pytest.mark.parametrize(
    "text",
    [
        "embed_dim=64,depth=2,num_heads=4/8,mlp_ratio=2.5",
        "C=64,depth=2,num_heads=4/8,ratio=2.5",
        " mlp_ratio = 2.5/2.5 , heads=4/8, embed_dim=64,depth=2",
    ],
)
def test_a_text_may_have_the_names_of_the_other_forms(text):
    found = Architecture.from_text(text)
    assert found == Architecture(embed_dim=64, depth=2, num_heads=(4, 8), mlp_ratio=(2.5, 2.5))
    assert found.to_text() == "C=64,depth=2,heads=4/8,ratio=2.5"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "C=64",
        "C=64,embed_dim=64,depth=1,heads=4,ratio=4",
        "width=64,depth=1,heads=4,ratio=4",
        "C=64,depth=1,heads=4,ratio=4,C=2",
        "C=a,depth=1,heads=4,ratio=4",
        "C=64,depth=1,heads=4,ratio=x",
    ],
)
def test_unreadable_text_is_refused(text):
    with pytest.raises(ValueError, match="="):
        Architecture.from_text(text)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ([], "not a mapping"),
        ({"embed_dim": 64}, "lacks the key 'depth'"),
        ({"embed_dim": 64, "width": 3}, "unknown key 'width'; allowed are embed_dim"),
    ],
)
def test_wrong_json_names_the_key(data, said):
    with pytest.raises(ValueError, match=said):
        Architecture.from_dict(data)


def test_heads_and_mixers_are_two_ways_to_say_the_same():
    heads = Architecture(embed_dim=16, depth=2, num_heads=(2, 4), mlp_ratio=(1, 2))
    mixers = Architecture(embed_dim=16, depth=2, mixer=heads.mixers, mlp_ratio=(1, 2))
    assert mixers == heads
    assert hash(mixers) == hash(heads)
    assert (mixers.num_heads, mixers.mixer) == ((2, 4), ())
    assert dataclasses.replace(heads, num_heads=(4, 4)).num_heads == (4, 4)
    mixed = dataclasses.replace(heads, num_heads=(), mixer=(Identity(), *heads.mixers[1:]))
    assert (mixed.num_heads, mixed.mixers) == ((), mixed.mixer)
    assert dataclasses.replace(mixed, mlp_ratio=(2, 2)).mixer == mixed.mixer
    with pytest.raises(ValueError, match="give one of them"):
        dataclasses.replace(heads, mixer=mixed.mixer)
    with pytest.raises(ValueError, match="mixer 'ssa' is not one of SSA, Depthwise, Identity"):
        Architecture(embed_dim=16, depth=1, mixer=("ssa",), mlp_ratio=(1,))
    with pytest.raises(ValueError, match="neuron 'lif' is not one of PLIF, LIF"):
        dataclasses.replace(heads, neuron="lif")
