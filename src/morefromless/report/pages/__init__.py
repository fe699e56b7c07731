"""HTML pages: single files that open from disk, use no network, and are readable without scripts.

The page NAME is `NAME.html.jinja`, which extends `base.html.jinja`. Its styles are `page.css` and
`NAME.css`, and its script is `NAME.js`.
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

import morefromless
from morefromless import files
from morefromless.report.words import markdown_text

_HERE = Path(__file__).parent

LARGE = 400_000
"""Bytes above which the PNG of a figure is shown, such as GradCAMs: their SVG has only pixels."""
PICTURES = {".svg": "image/svg+xml", ".png": "image/png"}
"""Media types of the pictures that a page can show."""
FORMS = (".svg", ".png", ".pdf", ".csv")


def write(path: Path, name: str, data: Mapping[str, Any], **values: Any) -> None:
    """Write page `name` to `path` atomically; see `render`."""
    files.write_text(path, render(name, data, **values))


def render(name: str, data: Mapping[str, Any], *, served: bool = False, **values: Any) -> str:
    """The page `name` as HTML.

    The template gets `values`, which it escapes; the script finds `data` as JSON in the element
    `data`. The page may load pictures next to it and embedded pictures, and only the scripts and
    styles of this folder, which it identifies by hash. A `served` page may also connect to its
    server.
    """
    style = "".join((_HERE / file).read_text("utf-8") for file in ("page.css", f"{name}.css"))
    script = (_HERE / f"{name}.js").read_text("utf-8")
    page = (
        _environment(escape=True)
        .get_template(f"{name}.html.jinja")
        .render(
            values,
            style=Markup(style),
            script=Markup(script),
            data=_embedded(data),
            policy=_policy(style, script) + ("; connect-src 'self'" if served else ""),
            version=morefromless.__version__,
        )
    )
    return page


def write_text(path: Path, template: str, **values: Any) -> None:
    """Write a text (Markdown) from a template, whose filter `md` escapes text."""
    text = _environment(escape=False).get_template(template).render(values)
    files.write_text(path, re.sub(r"\n{3,}", "\n\n", text).strip() + "\n")


@cache
def _environment(escape: bool) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=escape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["md"] = markdown_text
    return environment


def data_uri(content: bytes, media_type: str) -> str:
    """The content of a file as a data URI.

    >>> data_uri(b"<svg/>", "image/svg+xml")
    'data:image/svg+xml;base64,PHN2Zy8+'
    """
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


class Pictures:
    """The figures of a folder, for a page that shows them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def file(self, path: str) -> Path | None:
        """The figure at `path`, or the PNG next to it if the figure is large. None if there is no
        picture, or it is outside the folder."""
        file = self.folder / path
        inside = file.resolve().is_relative_to(self.folder.resolve())
        if not (inside and file.is_file() and file.suffix in PICTURES):
            return None
        png = file.with_suffix(".png")
        return png if file.stat().st_size > LARGE and png.is_file() else file

    def source(self, path: str) -> str:
        """A picture as a data URI."""
        file = self.file(path)
        assert file is not None
        return data_uri(file.read_bytes(), PICTURES[file.suffix])

    def address(self, path: str) -> str:
        """A picture's address, relative to the folder."""
        file = self.file(path)
        assert file is not None
        return quote(file.relative_to(self.folder).as_posix())

    def forms(self, path: str) -> dict[str, str]:
        """The formats of a figure that exist: format to address."""
        files = [(self.folder / path).with_suffix(kind) for kind in FORMS]
        return {
            file.suffix[1:].upper(): quote(file.relative_to(self.folder).as_posix())
            for file in files
            if file.is_file()
        }


def _embedded(data: Mapping[str, Any]) -> Markup:
    """JSON in which no text can close the HTML element around it."""
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
