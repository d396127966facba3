"""Files that people write: what stands twice in them is refused, not taken in silence."""

import pytest

from autost_optuna import Architecture, Space
from autost_optuna.files import parse_json, read_toml, toml_text

RETRAIN = "RETRAIN:\n  MLP_RATIO: [3, 4]\n  NUM_HEADS: [4, 8]\n  DEPTH: 2\n  EMBED_DIM: 192\n"
FIELDS = '"num_heads": [2], "mlp_ratio": [1]'


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.yaml", RETRAIN + "  DEPTH: 3\n", "the key DEPTH stands on lines 4 and 6; keep one of them"),
        ("a.yaml", RETRAIN + "RETRAIN: {}\n", "the key RETRAIN stands on lines 1 and 6; keep one of them"),
        ("a.yml", "MODEL: [{X: 1, X: 2}]\n" + RETRAIN, "the key X stands twice on line 1"),
        (
            "a.json",
            '{"embed_dim": 64,\n"depth": 1,\n' + FIELDS + ',\n"depth" : 2}',
            "the key depth stands on lines 2 and 4",
        ),
        ("a.json", '{"embed_dim": 64, "depth": 1, ' + FIELDS + ', "depth": 1}', "the key depth stands twice on line 1"),
        ("a.json", '{"embed_dim": 64, "dep\\u0074h": 1, "depth": 1}', "the key depth stands twice on line 1"),
    ],
)
def test_a_key_that_stands_twice_in_an_architecture_is_named_with_its_lines(tmp_path, name, text, said):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=rf"{name}.*{said}"):
        Architecture.load(tmp_path / name)


def test_a_key_that_stands_twice_in_a_space_is_named_with_its_lines(tmp_path):
    rest = "  MLP_RATIO: [3]\n  NUM_HEADS: [4]\n  EMBED_DIM: [64]\n"
    yaml, toml = tmp_path / "s.yaml", tmp_path / "s.toml"
    yaml.write_text(f"SEARCH_SPACE:\n  DEPTH: [1]\n{rest}  DEPTH: [2]\n")
    with pytest.raises(ValueError, match=r"s\.yaml: the key DEPTH stands on lines 2 and 6; keep one of them"):
        Space.load(str(yaml))
    yaml.write_text(f"LIKE: &like {{DEPTH: [2]}}\nSEARCH_SPACE:\n  <<: *like\n{rest}")  # what is merged stands once
    assert Space.load(str(yaml)).depth == (2,)
    toml.write_text("depth = [1]\ndepth = [2]\n")
    with pytest.raises(ValueError, match=r"s\.toml is not TOML .*line 2"):
        Space.load(str(toml))


def test_equal_keys_of_different_objects_are_read():
    assert parse_json('[{"a": 1}, {"a": {"a": 2}}]') == [{"a": 1}, {"a": {"a": 2}}]


def test_what_is_written_as_toml_reads_back(tmp_path):
    values = {"name": 'a "b"\\\n\x7fü', "flag": True, "list": [1, 2.5], "table": {"pj": 0.9, "source": "x"}}
    (tmp_path / "v.toml").write_text(toml_text(values))
    assert read_toml(tmp_path / "v.toml", "v.toml") == values
