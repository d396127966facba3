"""What all figures share: palette, themes, layout, axes and output files."""

import contextlib
import errno
import functools
import html
import json
import logging
import math
import secrets
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autost_optuna.delivery.plots.page import render
from autost_optuna.units import StrPath

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

SUFFIXES = (".html", ".json", ".svg", ".png")
THEMES = AUTO, LIGHT, DARK = ("auto", "light", "dark")
# Okabe and Ito's palette, which colour-blind readers can distinguish.
GREY, BLUE, ORANGE, GREEN, PURPLE, SKY = "#9aa0a6", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9"
INK = "#202124"
LEADING = 1.3  # height of a line relative to its letters
STATIC = (98, 140)  # characters per line of a title and a subtitle in a static figure, 1000 pixels wide
FEWEST = 3  # fewest ticks that make an axis readable
TITLE_SIZE = 19
BUTTONS = 14  # pixels of plotly's buttons in a page, which would otherwise cover the plot
TITLE = 60  # pixels of the title and subtitle above a figure
# Dark-paper replacements for colours of a light figure, including plotly_white's; other colours are visible on both.
DIM = {
    "white": "#17191d",
    INK: "#e8eaed",
    "#2a3f5f": "#d7dbe0",
    "#ebf0f8": "#363b44",
    "#c8d4e3": "#4a515c",
    BLUE: SKY,
    SKY: BLUE,
    "#555555": "#b0b4ba",
    "#bbbbbb": "#6b7079",
}


def dress(figure: "Figure", title: str, subtitle: str) -> None:
    """What all figures share: titles, fonts, margins."""
    figure.update_layout(
        template=_white(),
        title={
            "text": escape(title),
            "subtitle": {"text": escape(subtitle), "font": {"size": 13}},
            "font": {"size": TITLE_SIZE},
            # Placed from the top down, so that a second line moves the plot and covers nothing.
            "x": 0.01,
            "xanchor": "left",
            "y": 1,
            "yref": "container",
            "yanchor": "top",
            "pad": {"t": 12},
        },
        # At the bottom, where it covers no points; the margin grows with its rows.
        legend={"orientation": "h", "x": 0, "xanchor": "left", "y": 0, "yref": "container", "yanchor": "bottom"},
        hoverlabel={"align": "left", "bgcolor": "white", "font": {"color": INK}},
        margin={"l": 70, "r": 30, "t": TITLE + 20, "b": 60},
        font={"family": "system-ui, sans-serif", "size": 14},
    )


@functools.cache
def _white() -> str:
    """The name of plotly_white without traces that no figure has: plotly copies and checks a template with every figure."""
    import plotly.io as pio

    white = pio.templates["plotly_white"].to_plotly_json()
    name = "autost_optuna"
    pio.templates[name] = {**white, "data": {trace: white["data"][trace] for trace in ("scatter", "bar", "parcoords")}}
    return name


def wrapped(figure: "Figure", title: int, subtitle: int) -> "Figure":
    """The figure with title and subtitle wrapped to these numbers of characters, and room for them above the plot."""
    import plotly.graph_objects as go

    found = go.Figure(figure)
    above = figure.layout.title
    first, second = _lines(above.text, title), _lines(above.subtitle.text, subtitle)
    taller, longer = (
        LEADING * head.font.size * (len(lines) - 1) for head, lines in ((above, first), (above.subtitle, second))
    )
    found.update_layout(
        title={
            "text": "<br>".join(first),
            "subtitle": {"text": "<br>".join(second)},
            "pad": {"t": above.pad.t + taller / 2},  # plotly centres the lines of a title on the place of a single line
        },
        margin={"t": figure.layout.margin.t + taller + longer},
    )
    return found


def _lines(text: str | None, most: int) -> list[str]:
    """A title in as few lines as possible, of about equal length."""
    plain = html.unescape(text or "")
    least = len(textwrap.wrap(plain, most))
    narrowest = next(width for width in range(1, most + 1) if len(textwrap.wrap(plain, width)) <= least)
    return [escape(line) for line in textwrap.wrap(plain, narrowest)] or [""]


def check_ending(path: StrPath) -> str:
    """The ending of a figure's file. ValueError if figures cannot be written in that form."""
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{path} has no known ending; name it {', '.join(SUFFIXES)}")
    return suffix


def write_figure(figure: "Figure", path: StrPath, theme: str = AUTO) -> None:
    """Write .html (interactive and self-contained), .json (plotly's), .svg or .png.

    With theme "auto", a page follows the reader's browser, and the other forms are light. ValueError for other names, or if
    the static forms lack Chromium.
    """
    suffix = check_ending(path)
    with replacing(path) as part:
        if suffix == ".html":
            title = figure.layout.title
            words = {"title": html.unescape(title.text), "subtitle": html.unescape(title.subtitle.text)}
            page = render("figure.html", {**words, "theme": theme}, {"figure": for_page(figure)})
            part.write_text(page, encoding="utf-8")
        elif suffix == ".json":
            part.write_text(in_theme(figure, theme).to_json(), encoding="utf-8")
        else:
            _write_image(in_theme(figure, theme), part)


@contextlib.contextmanager
def replacing(path: StrPath) -> Iterator[Path]:
    """A file to write that replaces `path` once it is complete; each writer has its own.

    Raises ValueError, or OSError on a full disk, naming `path`.
    """
    path = Path(path)
    part = path.with_name(f".{path.stem[:40]}.{secrets.token_hex(8)}.part{path.suffix.lower()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.touch(exist_ok=False)  # with a new file's usual permissions, unlike tempfile's
        yield part
        part.replace(path)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise ValueError(f"cannot write {path} ({error.strerror or error}); choose another file") from None
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def in_theme(figure: "Figure", theme: str) -> "Figure":
    """The figure in the colours of a theme; "auto", which only pages support, is light."""
    import plotly.graph_objects as go

    if theme != DARK:
        return figure
    spec = json.loads(figure.to_json())
    for path, colour in dimmed(spec):
        part = spec
        for key in path[:-1]:
            part = part[key]
        part[path[-1]] = colour
    return go.Figure(spec)


def for_page(figure: "Figure") -> dict[str, Any]:
    """The figure for the templates' script: data, layout without the title (the page has it), and dark colours."""
    spec = json.loads(figure.to_json())
    spec["layout"].pop("title", None)
    spec["layout"]["margin"]["t"] -= TITLE - BUTTONS
    return {**spec, "dim": dimmed(spec)}


def dimmed(spec: Any, path: tuple[str | int, ...] = (), colour: bool = False) -> list[tuple[list[str | int], str]]:
    """The places of light colours in a figure's JSON form, with their replacements on dark paper."""
    if isinstance(spec, str):
        return [([*path], DIM[spec.lower()])] if colour and spec.lower() in DIM else []
    pairs = spec.items() if isinstance(spec, dict) else enumerate(spec) if isinstance(spec, list) else ()
    return [one for key, part in pairs for one in dimmed(part, (*path, key), colour or "color" in str(key))]


def _write_image(figure: "Figure", path: Path) -> None:
    logging.getLogger("choreographer").setLevel(logging.CRITICAL)  # it logs tracebacks of errors that it then ignores
    whole = wrapped(figure, *STATIC)
    height = (figure.layout.height or 620) + whole.layout.margin.t - figure.layout.margin.t
    try:
        whole.write_image(path, width=1000, height=height, scale=1 if path.suffix == ".svg" else 2)
    except Exception as error:  # kaleido raises many kinds of errors if it or its browser is missing
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(
            f"cannot write {path.suffix} ({reason.rstrip('.')}); install kaleido and Chromium, or write .html"
        ) from None


def ticks(
    values: Sequence[float], most: int | None = None, said: Callable[[float], str] = "{:g}".format
) -> dict[str, Any]:
    """Readable ticks of a logarithmic axis: 1, 2, 5 and their decades, denser where the range is narrow.

    At least FEWEST lie among the values; if these are too close, ticks are at round steps. With `most`, there are at most
    that many, none beyond the values; `said` gives the text of a tick.
    """
    low, high = min(values), max(values)
    steps: tuple[float, ...] = (1, 2, 5)
    if high / low < 30:
        steps = (1, 1.5, 2, 3, 4, 5, 7) if high / low > 3 else (1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8, 9)
    room = 1.1 if most is None else 1.0
    powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    shown: list[float] = []
    for chosen in (steps, (1, 2, 5), (1, 3), (1,)):
        ticks = (float(f"{step}e{power}") for power in powers for step in chosen)
        shown = [tick for tick in ticks if low / room <= tick <= high * room]
        if most is None or len(shown) <= most:
            break
    if low < high and sum(low <= tick <= high for tick in shown) < FEWEST:
        shown = round_steps(low, high)
    if most is not None and shown:
        shown = shown[:: math.ceil(len(shown) / most)]
    return {"tickvals": shown, "ticktext": [said(tick) for tick in shown]}


def round_steps(low: float, high: float) -> list[float]:
    """The multiples, from `low` to `high`, of the largest 1, 2 or 5 times a power of ten that has at least FEWEST there."""
    power = math.floor(math.log10(high - low))
    sizes = [float(f"{factor}e{lower}") for lower in (power, power - 1) for factor in (5, 2, 1)]
    ends = [(size, math.ceil(low / size), math.floor(high / size)) for size in sizes]
    step, first, last = next(one for one in ends if one[2] - one[1] + 1 >= FEWEST)
    return [float(f"{count * step:.12g}") for count in range(first, last + 1)]


def legend_of_part(what: str, drawn: int, there: int) -> str:
    """A name in a legend that says how many points are shown of how many: "dominated (5,000 of 19,800 shown)"."""
    return what if drawn == there else f"{what} ({drawn:,} of {there:,} shown)"


def escape(text: str) -> str:
    """Text escaped for plotly's titles."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
