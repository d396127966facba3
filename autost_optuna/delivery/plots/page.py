"""Self-contained pages: templates that escape their values, with figures and plotly.js packed into the page once."""

import base64
import functools
import gzip
import json
from collections.abc import Mapping
from typing import Any


def render(template: str, values: Mapping[str, object], figures: Mapping[str, Mapping[str, Any]]) -> str:
    """The page from a file in delivery/templates, whose elements name the figures, in JSON form, to draw there.

    All values are escaped; a missing name is an error.
    """
    import jinja2

    pages = jinja2.Environment(
        loader=jinja2.PackageLoader("autost_optuna.delivery"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    packed = {"plotly_js": packed_plotly(), "packed_figures": compress(json.dumps(figures))}
    return pages.get_template(template).render({**values, **packed, "figures": tuple(figures)})


def compress(text: str) -> str:
    """Text as gzip in base64, a third as long or less, which browsers since 2023 can unpack."""
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()


@functools.cache
def packed_plotly() -> str:
    """plotly.js, 2 MB instead of 4.8."""
    from plotly.offline import get_plotlyjs

    return compress(get_plotlyjs())
