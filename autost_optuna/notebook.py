"""What a notebook shows of an object: a small table in HTML, every text in it escaped."""

from collections.abc import Sequence
from html import escape


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, left: Sequence[str] = ()) -> str:
    """A table with a header: numbers to the right, the columns in `left` to the left."""
    sides = ["left" if column in left else "right" for column in columns]

    def line(tag: str, cells: Sequence[str]) -> str:
        parts = [
            f'<{tag} style="text-align: {side}">{escape(cell)}</{tag}>' for cell, side in zip(cells, sides, strict=True)
        ]
        return f"<tr>{''.join(parts)}</tr>"

    body = "".join(line("td", row) for row in rows)
    return f"<table><thead>{line('th', columns)}</thead><tbody>{body}</tbody></table>"


def facts(pairs: Sequence[tuple[str, str]]) -> str:
    """A table of two columns, a name and what is known of it; what is empty is left out."""
    rows = (
        f'<tr><th style="text-align: left">{escape(name)}</th><td style="text-align: left">{escape(value)}</td></tr>'
        for name, value in pairs
        if value
    )
    return f"<table><tbody>{''.join(rows)}</tbody></table>"


def titled(title: str, *parts: str) -> str:
    """Parts in HTML below a title, which is text."""
    return f"<div><p><b>{escape(title)}</b></p>{''.join(parts)}</div>"


def remark(text: str) -> str:
    """A line of text below a table."""
    return f"<p>{escape(text)}</p>"
