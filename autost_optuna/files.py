"""Files that people write: TOML, YAML and JSON are read, and their keys checked."""

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def read_text(path: Path) -> str:
    """A text file's content; ValueError where it is missing, no file, or not UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ValueError(f"{path} does not exist; check the path") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not a text file; give JSON, YAML or TOML") from None
    except OSError as error:
        raise ValueError(f"cannot read {path} ({error.strerror}); check the path and its permissions") from None


def read_yaml(path: Path) -> Any:
    """A YAML file's content, by the safe loader."""
    import yaml

    text = read_text(path)
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path} is not YAML ({reason}); give a file in AutoST's form") from None


def read_toml(path: Path, example: str) -> dict[str, Any]:
    """A TOML file's content; `example` is a file that shows the form."""
    text = read_text(path)
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not TOML ({error}); see {example} for the form") from None


def toml_text(values: Mapping[str, Any]) -> str:
    """The file that `read_toml` reads as `values`: numbers, texts, lists of them, and tables, each on a line."""
    return "".join(f"{name} = {_toml(value)}\n" for name, value in values.items())


def _toml(value: object) -> str:
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{name} = {_toml(part)}' for name, part in value.items())} }}"
    # JSON's form of the others is TOML's too, but for one control character.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def check_keys(what: str, data: object, allowed: Sequence[str], needed: Sequence[str] | None = None) -> dict[str, Any]:
    """`data` as a dict of `allowed` keys with all that are `needed` (all, by default); ValueError names what is wrong."""
    needed = allowed if needed is None else needed
    if not isinstance(data, Mapping):
        raise ValueError(f"{what} is {type(data).__name__}, not a mapping; it needs the keys {', '.join(needed)}")
    unknown = [str(key) for key in data if key not in allowed]
    if unknown:
        raise ValueError(f"{what}: unknown key {unknown[0]!r}; allowed are {', '.join(allowed)}")
    missing = [name for name in needed if name not in data]
    if missing:
        others = "" if set(needed) == set(allowed) else f"; allowed are {', '.join(allowed)}"
        raise ValueError(f"{what} lacks the key {missing[0]!r}; it needs {', '.join(needed)}{others}")
    return dict(data)
