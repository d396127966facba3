"""Spaces as people write them: TOML, and AutoST's YAML."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autost_optuna.files import check_keys, read_toml, read_yaml

CHOICES = ("embed_dim", "depth", "num_heads", "mlp_ratio")  # of AutoST's form


def read_space(path: Path) -> dict[str, Any]:
    """The fields of a space from FILE.toml or AutoST's FILE.yaml. ValueError says what is missing or unknown."""
    if path.suffix == ".toml":
        return read_toml(path, "examples/narrow.toml")
    data = read_yaml(path)
    if not isinstance(data, Mapping) or not isinstance(data.get("SEARCH_SPACE"), Mapping):
        raise ValueError(f"{path} has no SEARCH_SPACE section; AutoST's form is SEARCH_SPACE: {{MLP_RATIO, ...}}")
    names = {field.upper(): field for field in (*CHOICES, "dividing_heads")}
    section = check_keys(f"space {path.stem}", data["SEARCH_SPACE"], list(names), list(names)[: len(CHOICES)])
    return {names[key]: value for key, value in section.items()}
