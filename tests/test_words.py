"""Plain English: phrases that sound translated stay out of what people read."""

import ast
import re
import tokenize
from pathlib import Path

import click
import pytest

from autost_optuna.cli import main

ROOT = Path(__file__).parent.parent

# A phrase, and what to write instead.
PHRASES = {
    r"\w+Error where": "raises ValueError if",
    r"(?:is|are|was|were) told": "is reported, is printed",
    r"mend(?:s|ed|ing)?": "fix",
    r"of one's own|of yours": "your own, the user's",
    r"(?:are|is) others now": "have changed, differ",
    r"at hand": "current, available",
    r"no numbers?(?: any more)?": "NaN, not a number",
    r"whom?ever asks|whoever ask": "never run twice, even from several terminals",
    r"(?:goes|go|went|gone) away": "becomes unavailable",
    r"(?:FLOPs|energy|energies|mJ|pJ|spikes|MACs|images) an? (?:image|seed|step|batch)": "per image",
    r"(?:a|one|a line|a row|a charge|a trial) an? (?:image|seed|block|network|operation|architecture|recipe|row)": "per",
}
# Text that ends in a hit and is plain English.
ALLOWED: tuple[str, ...] = ()


def documentation():
    """Pages by their names."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    return {str(page.relative_to(ROOT)): page.read_text() for page in pages}


def package():
    """What the package says: its string constants and comments by file and line, and whole templates and presets."""
    found = {}
    for path in sorted((ROOT / "autost_optuna").rglob("*.py")):
        name, text = path.relative_to(ROOT), path.read_text()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found[f"{name}:{node.lineno}:{node.col_offset}"] = node.value
        comments = [
            line.partition("#")[2].strip() if line.lstrip().startswith("#") else None for line in text.splitlines()
        ]
        for number, comment in enumerate(comments):  # a phrase may go on in the next line
            if comment is not None:
                found[f"{name}:{number + 1}#"] = " ".join(filter(None, comments[number : number + 2]))
        with path.open("rb") as source:
            tokens = [token for token in tokenize.tokenize(source.readline) if token.type == tokenize.COMMENT]
        found |= {f"{name}:{token.start[0]}#": token.string for token in tokens if token.line.lstrip()[0] != "#"}
    for pattern in ("*.html", "*.css", "*.in", "*.toml"):
        for path in sorted((ROOT / "autost_optuna").rglob(pattern)):
            found[str(path.relative_to(ROOT))] = path.read_text()
    return found


def helps():
    """The --help of every command."""
    found, waiting = {}, [(main, ("autost-optuna",))]
    while waiting:
        command, names = waiting.pop()
        found[" ".join(names)] = command.get_help(click.Context(command, info_name=names[-1]))
        waiting += [(child, (*names, name)) for name, child in getattr(command, "commands", {}).items()]
    return found


def hits(text):
    """Every phrase in a text, as (line, phrase, what to write); line breaks count as spaces."""
    for phrase, instead in PHRASES.items():
        for found in re.finditer(rf"\b(?:{phrase.replace(' ', chr(92) + 's+')})\b", text):
            if not " ".join(text[: found.end()][-200:].split()).endswith(ALLOWED):
                yield text.count("\n", 0, found.start()) + 1, " ".join(found[0].split()), instead


@pytest.mark.parametrize("subject", [documentation, package, helps])
def test_phrases_to_avoid_are_avoided(subject):
    found = [
        f"{name}, line {line}: {phrase!r}; write: {instead}"
        for name, text in subject().items()
        for line, phrase, instead in hits(text)
    ]
    assert not found, "\n".join(found)


def test_every_subject_has_texts():
    assert len(documentation()) >= 12
    texts = package()
    assert len(texts) > 4000
    assert "autost_optuna/delivery/templates/report.html" in texts
    assert any(name.endswith("#") for name in texts)
    assert "autost-optuna study run" in helps()


@pytest.mark.parametrize(
    "text",
    [
        "ValueError where a name is unknown",
        "The user is told so.",
        "It mends the journal",
        "a space of one's own",
        "images are\n  others now",
        "the trial at hand",
        "weights that are no numbers any more",
        "trained once, whoever asks",
        "a server that goes away",
        "energy in mJ an image",
        "a row a network",
    ],
)
def test_each_phrase_is_found(text):
    assert len(list(hits(text))) == 1


@pytest.mark.parametrize(
    "text",
    [
        "recommended, commendable, amended",
        "a space of your own",
        "a handy page",
        "a number of ways",
        "to train a network",
    ],
)
def test_other_words_are_not(text):
    assert not list(hits(text))
