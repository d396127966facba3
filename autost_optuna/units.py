"""Numbers for people: counts with an SI prefix and energies with a unit, to three or four significant digits; rows as CSV."""

import csv
import io
import itertools
import math
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

StrPath = str | os.PathLike[str]  # a path as callers may pass it; functions convert it to a Path at once
_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def significant(value: float, digits: int = 3) -> str:
    """`value` rounded to `digits` significant digits, without an exponent below 1e12: 2.06, 0.468, 1320."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    if abs(value) >= 1e12:
        return f"{value:.{digits - 1}e}"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:.{decimals}f}"


def count(value: float, unit: str = "") -> str:
    """A count with an SI prefix: `count(3736145664, "MACs")` is "3.74 GMACs"."""
    for factor, prefix in _PREFIXES:
        if abs(value) >= factor:
            return f"{significant(value / factor)} {prefix}{unit}"
    return f"{value:g} {unit}".rstrip()


def amount(text: str) -> float:
    """A number written with or without an SI prefix: "11M" is 11,000,000. ValueError if it is not a number."""
    prefixes = {prefix: factor for factor, prefix in _PREFIXES}
    number = text.strip()
    factor = prefixes.get(number[-1:], 1.0)
    try:
        return float(number.removesuffix(number[-1:]) if factor > 1 else number) * factor
    except ValueError:
        raise ValueError(f"{text!r} is not a number; write one such as 12000000, 12M or 3.7G") from None


def parameters(number: int) -> str:
    """A number of parameters in millions, as is usual in the field: "9.32 M parameters"."""
    return f"{significant(number / 1e6)} M parameters"


def energy(millijoules: float) -> str:
    """An energy per image: "2.06 mJ". Small energies change the unit, to µJ or nJ, and keep the number of digits."""
    if 0 < abs(millijoules) < 1e-3:
        return f"{significant(millijoules * 1e6)} nJ"
    if 0 < abs(millijoules) < 0.1:
        return f"{significant(millijoules * 1e3)} µJ"
    return f"{significant(millijoules)} mJ"


def whole(values: Sequence[float]) -> list[int]:
    """`values` as whole numbers that add up to the rounded sum of `values`, so that a printed column adds up."""
    ends = [round(end) for end in itertools.accumulate(values, initial=0.0)]
    return [end - start for start, end in itertools.pairwise(ends)]


def duration(seconds: float) -> str:
    """A duration: "0.42 s", "73 s", "12 min 5 s", "2 h 3 min"."""
    if seconds < 10:
        return f"{significant(seconds, 2)} s"
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def counted(number: int, noun: str) -> str:
    """A number with its noun: "1 trial", "40 trials"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def seeds(first: int, number: int) -> str:
    """Consecutive seeds: "seed 0", "seeds 0 to 7"."""
    return f"seed {first}" if number == 1 else f"seeds {first} to {first + number - 1}"


def images(number: int, of_seeds: int) -> str:
    """Images that something was measured on: "4 images", "4 images per seed"."""
    return counted(number, "image") + (" per seed" if of_seeds > 1 else "")


def share(value: float, deviation: float | None = None) -> str:
    """A share in per cent, with its deviation if given: "97.2 %", "97.2 ± 0.3 %"."""
    spread = "" if deviation is None else f" ± {100 * deviation:.1f}"
    return f"{100 * value:.1f}{spread} %"


def command(*words: str) -> str:
    """A command of this program, quoted for a shell: "autost-optuna study show 'my study'"."""
    return shlex.join(["autost-optuna", *words])


def one_line(text: str) -> str:
    """`text` on one line without control characters, so that no name can break a message or a terminal."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f]+", " ", text).strip()


def markdown_text(columns: Sequence[str], rows: Sequence[Sequence[str]], *, left: Sequence[str] = ()) -> str:
    """A table in Markdown. Columns in `left` are aligned to the left, all others to the right."""
    sides = [":---" if column in left else "---:" for column in columns]
    lines = [[cell.replace("|", r"\|") for cell in row] for row in (columns, sides, *rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def latex_escaped(text: str) -> str:
    """Text that LaTeX prints as it is."""
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    special |= {letter: f"\\{letter}" for letter in "&%$#_{}"}
    return "".join(special.get(letter, letter) for letter in text)


def latex_text(columns: Sequence[str], rows: Sequence[Sequence[str]], *, left: Sequence[str] = ()) -> str:
    """A table in LaTeX, with the rules of booktabs. Columns in `left` are aligned to the left, all others to the right."""

    def line(cells: Sequence[str]) -> str:
        return " & ".join(map(latex_escaped, cells)) + r" \\"

    sides = "".join("l" if column in left else "r" for column in columns)
    lines = [
        rf"\begin{{tabular}}{{{sides}}}",
        r"\toprule",
        line(columns),
        r"\midrule",
        *map(line, rows),
        r"\bottomrule",
    ]
    return "\n".join([*lines, r"\end{tabular}", ""])


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """CSV with a header of all keys and one line per row.

    The items of a list are joined by slashes, "-" for None. A key that the first row lacks follows its neighbour.
    """
    text = io.StringIO()
    header: list[str] = []
    for row in rows:
        if not row.keys() <= set(header):
            for last, key in itertools.pairwise((None, *row)):
                if key not in header:
                    header.insert(header.index(last) + 1 if last else 0, key)  # type: ignore[arg-type]
    if rows:
        writer = csv.DictWriter(text, header, lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({k: _joined(v) if isinstance(v, list) else v for k, v in row.items()})
    return text.getvalue()


def _joined(values: Sequence[object]) -> str:
    return "/".join("-" if value is None else str(value) for value in values)
