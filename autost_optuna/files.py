"""Read the TOML, YAML and JSON files that people write, and check their keys."""

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from yaml import Node


def read_text(path: Path) -> str:
    """The content of a text file. ValueError if it is missing, is not a file, or is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ValueError(f"{path} does not exist; check the path") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not a text file; give JSON, YAML or TOML") from None
    except OSError as error:
        raise ValueError(f"cannot read {path} ({error.strerror}); check the path and its permissions") from None


def read_yaml(path: Path) -> Any:
    """The content of a YAML file, read by the safe loader. ValueError if it is not YAML or a mapping repeats a key."""
    import yaml

    text = read_text(path)
    try:
        root, data = yaml.compose(text, yaml.SafeLoader), yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path} is not YAML ({reason}); give a file in AutoST's form") from None
    if repeated := _repeated(root):
        raise ValueError(f"{path}: {repeated}; keep one of them")
    return data


def _repeated(root: "Node | None") -> str | None:
    """The first key that a mapping of a YAML file repeats: YAML forbids this, but the loader takes the last value."""
    from yaml import MappingNode, ScalarNode, SequenceNode

    left, seen = [root], set()
    while left:
        node = left.pop()
        if id(node) in seen:  # an alias
            continue
        seen.add(id(node))
        if isinstance(node, SequenceNode):
            left += node.value
        elif isinstance(node, MappingNode):
            lines: dict[tuple[str, str], list[int]] = {}
            for key, value in node.value:
                left += (key, value)
                if isinstance(key, ScalarNode):
                    lines.setdefault((key.tag, key.value), []).append(key.start_mark.line + 1)
            for (_, name), places in lines.items():
                if len(places) > 1:
                    return _twice(name, places)
    return None


def parse_json(text: str) -> Any:
    """The value of a JSON text. ValueError if it is not JSON or an object repeats a key."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            name = next(name for name in names if names.count(name) > 1)
            written = re.compile(re.escape(json.dumps(name, ensure_ascii=False)) + r"\s*:")
            places = [text.count("\n", 0, place.start()) + 1 for place in written.finditer(text)]
            raise ValueError(_twice(name, places))
        return found

    return json.loads(text, object_pairs_hook=unique)


def _twice(name: str, lines: Sequence[int]) -> str:
    """A message that says on which lines one mapping repeats a key."""
    places = list(dict.fromkeys(lines))
    where = f"on lines {' and '.join(map(str, places))}" if len(places) > 1 else f"twice on line {(places or [1])[0]}"
    return f"the key {name} stands {where}"


def read_toml(path: Path, example: str) -> dict[str, Any]:
    """The content of a TOML file. ValueError if it is not TOML; the message refers to the file `example`."""
    text = read_text(path)
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not TOML ({error}); see {example} for the form") from None


def toml_text(values: Mapping[str, Any]) -> str:
    """TOML text that `read_toml` reads back as `values`: numbers, texts, lists of these, and tables, one per line."""
    return "".join(f"{name} = {_toml(value)}\n" for name, value in values.items())


def _toml(value: object) -> str:
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{name} = {_toml(part)}' for name, part in value.items())} }}"
    # JSON and TOML write all other values alike, except for one control character.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def check_keys(what: str, data: object, allowed: Sequence[str], needed: Sequence[str] | None = None) -> dict[str, Any]:
    """`data` as a dict. ValueError if it has a key that is not `allowed` or lacks a `needed` one (by default, all are)."""
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
