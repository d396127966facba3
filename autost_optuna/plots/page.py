"""Pages complete in themselves: templates that escape what they are given, with plotly.js packed into the page once."""

import base64
import functools
import gzip
from collections.abc import Mapping


def render(template: str, values: Mapping[str, object]) -> str:
    """The page of a file in autost_optuna/templates. All values are escaped; a name that the template lacks is an error."""
    import jinja2

    pages = jinja2.Environment(
        loader=jinja2.PackageLoader("autost_optuna"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return pages.get_template(template).render({**values, "plotly_js": packed_plotly()})


@functools.cache
def packed_plotly() -> str:
    """plotly.js, 4.8 MB, as gzip in base64, 2 MB, which browsers since 2023 unpack by themselves."""
    from plotly.offline import get_plotlyjs

    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), mtime=0)).decode()
