"""Pages: one HTML file that opens from a disk, reaches for no network, and is readable unscripted.

The page NAME is `NAME.html.jinja`, which extends `base.html.jinja`; `NAME.css` is added to
`page.css`, and `NAME.js` is its behaviour.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

import morefromless
from morefromless.data import atomic

_HERE = Path(__file__).parent


def write(path: Path, name: str, data: Mapping[str, Any], **values: Any) -> None:
    """Write page `name` to `path`, whole or not at all.

    The template sees `values`, which it escapes; the script finds `data` as JSON in the element
    `data`. What the page may load are pictures beside it and pictures inside it; scripts and styles
    are only those of this folder, held to by their hashes.
    """
    style = "".join((_HERE / file).read_text("utf-8") for file in ("page.css", f"{name}.css"))
    script = (_HERE / f"{name}.js").read_text("utf-8")
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template(f"{name}.html.jinja").render(
        values,
        style=Markup(style),
        script=Markup(script),
        data=_embedded(data),
        policy=_policy(style, script),
        version=morefromless.__version__,
    )
    atomic.write_text(path, page)


def _embedded(data: Mapping[str, Any]) -> Markup:
    """JSON in which no text can end the element that it stands in."""
    written = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Markup(written.replace("<", "\\u003c"))


def _policy(style: str, script: str) -> str:
    return (
        "default-src 'none'; img-src 'self' data: file:; "
        f"style-src {_hash(style)}; script-src {_hash(script)}; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
