"""What all figures share: palette, dress, axes, and the files that they are written to."""

import contextlib
import errno
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

SUFFIXES = (".html", ".svg", ".png")
# Okabe and Ito's palette, which colour-blind readers can tell apart.
GREY, BLUE, ORANGE, GREEN, PURPLE = "#9aa0a6", "#0072b2", "#d55e00", "#009e73", "#cc79a7"
INK = "#202124"


def dress(figure: "Figure", title: str, subtitle: str) -> None:
    """What all figures share: titles, fonts, margins."""
    figure.update_layout(
        template="plotly_white",
        title={"text": escape(title), "subtitle": {"text": escape(subtitle)}, "x": 0.01, "xanchor": "left"},
        legend={
            "orientation": "h",
            "x": 0,
            "xanchor": "left",
            "y": -0.13,
            "yanchor": "top",
        },  # it covers no point there
        hoverlabel={"align": "left", "bgcolor": "white", "font": {"color": INK}},
        margin={"l": 70, "r": 30, "t": 80, "b": 110},
        font={"family": "system-ui, sans-serif", "size": 14},
    )


def check_ending(path: Path) -> str:
    """The ending of a figure's file. ValueError where no figure is written in that form."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{path} has no known ending; name it {', '.join(SUFFIXES)}")
    return suffix


def write_figure(figure: "Figure", path: Path) -> None:
    """Write .html (interactive, complete in itself), .svg or .png. ValueError for other names, or without a Chromium."""
    suffix = check_ending(path)
    part = path.with_name(f".{path.stem}.part{suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if suffix == ".html":
            figure.write_html(
                part, include_plotlyjs=True, default_height="94vh", config={"displaylogo": False, "responsive": True}
            )
        else:
            _write_image(figure, part)
        part.replace(path)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise ValueError(f"cannot write {path} ({error.strerror or error}); choose another file") from None
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def _write_image(figure: "Figure", path: Path) -> None:
    logging.getLogger("choreographer").setLevel(logging.CRITICAL)  # it logs a traceback of what it then ignores
    try:
        figure.write_image(
            path, width=1000, height=figure.layout.height or 620, scale=1 if path.suffix == ".svg" else 2
        )
    except Exception as error:  # kaleido raises many kinds where it or its browser is missing
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(
            f"cannot write {path.suffix} ({reason.rstrip('.')}); install kaleido and Chromium, or write .html"
        ) from None


def ticks(values: Sequence[float]) -> dict[str, object]:
    """Readable ticks of a logarithmic axis: 1, 2, 5 and their decades, denser where the range is narrow."""
    low, high = min(values), max(values)
    steps: tuple[float, ...] = (1, 2, 5)
    if high / low < 30:
        steps = (1, 1.5, 2, 3, 4, 5, 7) if high / low > 3 else (1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8, 9)
    ticks = [float(f"{step}e{power}") for power in range(-9, 9) for step in steps]
    shown = [tick for tick in ticks if low / 1.1 <= tick <= high * 1.1]
    return {"tickvals": shown, "ticktext": [f"{tick:g}" for tick in shown]}


def escape(text: str) -> str:
    """Text as plotly's titles show it literally."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
