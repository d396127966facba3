"""Small HTML tables that show an object in a notebook; all text in them is escaped."""

from collections.abc import Sequence
from html import escape


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, left: Sequence[str] = ()) -> str:
    """A table with a header. Columns in `left` are aligned to the left, all others to the right."""
    sides = ["left" if column in left else "right" for column in columns]

    def line(tag: str, cells: Sequence[str]) -> str:
        parts = [
            f'<{tag} style="text-align: {side}">{escape(cell)}</{tag}>' for cell, side in zip(cells, sides, strict=True)
        ]
        return f"<tr>{''.join(parts)}</tr>"

    body = "".join(line("td", row) for row in rows)
    return f"<table><thead>{line('th', columns)}</thead><tbody>{body}</tbody></table>"


def facts(pairs: Sequence[tuple[str, str]]) -> str:
    """A table with two columns, name and value, without the rows whose value is empty."""
    rows = (
        f'<tr><th style="text-align: left">{escape(name)}</th><td style="text-align: left">{escape(value)}</td></tr>'
        for name, value in pairs
        if value
    )
    return f"<table><tbody>{''.join(rows)}</tbody></table>"


def titled(title: str, *parts: str) -> str:
    """HTML parts below a title; the title is plain text."""
    return f"<div><p><b>{escape(title)}</b></p>{''.join(parts)}</div>"


def remark(text: str) -> str:
    """A line of text below a table."""
    return f"<p>{escape(text)}</p>"
