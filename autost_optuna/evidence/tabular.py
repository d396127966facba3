"""Tables of figures of architectures, from a CSV file or from rows, read as evidence."""

import codecs
import csv
import gzip
import io
import math
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

from autost_optuna import units
from autost_optuna.evidence.verdict import Evidence
from autost_optuna.units import StrPath

PARAMS = "params"
ENDINGS = (".csv", ".csv.gz")
DELIMITERS = ",;\t"
COMMA = re.compile(r"[+-]?\d+,\d+([eE][+-]?\d+)?")  # a decimal number, or thousands
LONGEST = 1_000_000  # most characters of a line
MOST = 200_000  # most rows
LISTED = 20  # most columns that a message names


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """Rows of named cells, and the place of each in `source`, for messages.

    `targets`, `proxies` and `group` are the default columns of evidence. With `commas`, decimals are written as 0,5.
    """

    source: str
    names: tuple[str, ...]
    rows: tuple[tuple[str | float, ...], ...] = field(repr=False)
    places: tuple[str, ...] = field(repr=False)
    targets: tuple[str, ...] = ()
    proxies: tuple[str, ...] = ()
    group: str | None = None
    commas: bool = False

    def evidence(
        self,
        *,
        targets: Sequence[str] = (),
        proxies: Sequence[str] = (),
        params: str | None = None,
        group: str | None = None,
        lower: bool = False,
    ) -> Evidence:
        """These columns as evidence; an architecture is one row, or all rows with the same value in column `group`.

        Several targets are seeds of one figure; so are the rows of a group, whose proxies are averaged. `params` defaults to
        the column of that name, if it exists. ValueError names the column and row of a missing value or one that is not a
        number.
        """
        targets, proxies, group = targets or self.targets, proxies or self.proxies, group or self.group
        for what, given in (("target", targets), ("proxy", proxies)):
            if not given:
                raise ValueError(f"no {what} is named; {self._have}")
            if again := {name for name in given if given.count(name) > 1}:
                raise ValueError(f"{what} {min(again)!r} is named twice; name it once")
        if both := set(targets) & set(proxies):
            raise ValueError(f"{min(both)!r} is named as target and as proxy; choose one")
        if params is None and PARAMS in self.names:
            params = PARAMS
        rows: dict[str | float, list[int]] = {}
        for place, key in enumerate(self.places if group is None else self._cells(group)):
            if key == "":
                raise ValueError(
                    f"{self.source}, {self.places[place]}: {group} is empty; name the row's architecture there"
                )
            rows.setdefault(key, []).append(place)
        seeds = [self._numbers(name, finite=True) for name in targets]

        def means(name: str) -> tuple[float, ...]:
            values = self._numbers(name)
            return tuple(sum(values[i] for i in found) / len(found) for found in rows.values())

        return Evidence(
            target="/".join(targets),
            accuracies=tuple(tuple(values[i] for i in found for values in seeds) for found in rows.values()),
            proxies={name: means(name) for name in proxies},
            labels=tuple(str(key) for key in rows),
            params=None if params is None else means(params),
            lower=lower,
        )

    def finite(self, names: Sequence[str]) -> "Table":
        """The rows with finite numbers in these columns. ValueError if there are none."""
        columns = [self._cells(name) for name in names]
        kept = [place for place in range(len(self.rows)) if not any(self._missing(column[place]) for column in columns)]
        if not kept:
            raise ValueError(
                f"no row of {self.source} has numbers in all of {', '.join(names)}; leave out the empty one"
            )
        return replace(
            self, rows=tuple(self.rows[place] for place in kept), places=tuple(self.places[place] for place in kept)
        )

    @property
    def _have(self) -> str:
        shown = ", ".join(self.names[:LISTED])
        more = len(self.names) - LISTED
        return f"the columns of {self.source} are {shown}{f' and {more} more' if more > 0 else ''}"

    def _cells(self, name: str) -> list[str | float]:
        if name not in self.names:
            raise ValueError(f"there is no column {name!r}; {self._have}")
        column = self.names.index(name)
        return [row[column] for row in self.rows]

    def _numbers(self, name: str, *, finite: bool = False) -> list[float]:
        """A column as numbers. Infinite ones are allowed in a proxy, because they have a rank."""
        found = []
        for place, cell in zip(self.places, self._cells(name), strict=True):
            try:
                value = self._value(cell)
            except ValueError:
                value = math.nan
            if math.isnan(value) or (finite and math.isinf(value)):
                what = repr(cell) if cell != "" else "empty"
                remedy = "fix the row or leave it out" + (" (--finite)" if self._missing(cell) else "")
                if self.commas and "." in str(cell):
                    remedy = "other decimals here have a comma, so a point may mean thousands: write all in one way"
                elif not self.commas and COMMA.fullmatch(str(cell)):
                    remedy = "write decimals with a point, and no separator of thousands"
                raise ValueError(f"{self.source}, {place}: {name} is {what}, not a number; {remedy}")
            found.append(value)
        return found

    def _value(self, cell: str | float) -> float:
        """A cell as a number. ValueError if it is not one, such as 1.234 among decimals with commas."""
        if self.commas and isinstance(cell, str):
            if "." in cell:
                raise ValueError(cell)
            cell = cell.replace(",", ".")
        return float(cell)

    def _missing(self, cell: str | float) -> bool:
        """Whether a cell is empty, NaN or infinite; any other text that is not a number is a mistake, not a missing value."""
        try:
            return not math.isfinite(self._value(cell))
        except ValueError:
            return cell == ""


def read_table(path: StrPath, where: Mapping[str, str] | None = None) -> Table:
    """Read a .csv or .csv.gz with a header; `where` selects the rows with these values.

    Columns are separated by commas or, as some spreadsheets save them, by semicolons or tabs; decimals may then have commas.
    The text is UTF-8, or UTF-16 if it begins with that byte order mark. ValueError says what is wrong.
    """
    path = Path(path)
    if not path.name.lower().endswith(ENDINGS):
        raise ValueError(f"{path} is no table by its name; give {' or '.join(ENDINGS)}")
    try:
        with gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb") as file:
            start = file.read(2)
            file.seek(0)
            encoding = "utf-16" if start in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"
            with io.TextIOWrapper(file, encoding, newline="") as text:
                return _read(path, iter(lambda: text.readline(LONGEST), ""), where or {})
    except UnicodeDecodeError:
        raise ValueError(f"{path} is no text in UTF-8; save it as CSV UTF-8") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path} is no whole gzip file ({error}); fetch it again") from None
    except csv.Error as error:
        raise ValueError(f"{path} is no CSV ({error}); save it again, with commas between columns") from None
    except OSError as error:
        raise ValueError(f"cannot read {path} ({error.strerror or error}); choose another file") from None


def _read(path: Path, lines: Iterator[str], where: Mapping[str, str]) -> Table:
    first = next(lines, "")
    skipped = int(first.strip().lower() in ("sep=,", "sep=;"))  # a line that only Excel uses
    first = next(lines, "") if skipped else first
    delimiter = max(DELIMITERS, key=lambda mark: len(next(csv.reader([first], delimiter=mark), [])))
    reader = csv.reader(chain([first], lines), delimiter=delimiter, skipinitialspace=True, strict=True)
    names = [units.one_line(name) for name in next(reader, [])]
    if not any(names):
        raise ValueError(f"{path} is empty; give a table with a line of column names first")
    if again := [name for name, times in Counter(names).items() if times > 1]:
        raise ValueError(f"{path} has two columns {again[0]!r}; name them apart")
    table = Table(source=str(path), names=tuple(names), rows=(), places=())
    for name in where:
        table._cells(name)
    wanted = {names.index(name): value for name, value in where.items()}
    rows, places, there, commas = [], [], 0, False
    for cells in ([cell.strip() for cell in line] for line in reader):
        if not any(cells):  # spreadsheets end a table with such lines
            continue
        line = f"line {reader.line_num + skipped}"
        if len(cells) != len(names):
            raise ValueError(f"{path}, {line} has {len(cells)} cells for {len(names)} columns; fix it or leave it out")
        there += 1
        commas = commas or (delimiter != "," and any(map(COMMA.fullmatch, cells)))
        if all(cells[column] == value for column, value in wanted.items()):
            rows.append(tuple(cells))
            places.append(line)
        if len(rows) > MOST:
            raise ValueError(f"{path} has more than {MOST:,} rows; give a sample of them")
    if not rows:
        of = " and ".join(f"{name}={value}" for name, value in where.items())
        raise ValueError(
            f"none of the {units.counted(there, 'row')} of {path} has {of}; choose another value"
            if where and there
            else f"{path} has no rows; give at least three"
        )
    return Table(source=str(path), names=tuple(names), rows=tuple(rows), places=tuple(places), commas=commas)
