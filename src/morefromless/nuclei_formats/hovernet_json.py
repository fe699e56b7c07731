"""HoVer-Net's JSON, one file per image."""

import re
from pathlib import Path
from typing import Any

from morefromless.data.outlines import ring
from morefromless.data.polygons import fill
from morefromless.data.schemes import RawType
from morefromless.errors import UnreadablePatch
from morefromless.nuclei_formats import NucleiFormat, TypedInstances
from morefromless.nuclei_formats._files import parse_type, printable, read_head, read_json

_START = re.compile(
    r'\s*\{(\s*"mag"\s*:[^,{}]*,)?\s*("nuc"\s*:|"[^"]*"\s*:\s*\{\s*"(bbox|contour)"\s*:)'
)


class HovernetJson(NucleiFormat):
    """HoVer-Net's JSON for tiles: `{"mag": null, "nuc": {"1": {"contour": [[x, y], ...], "type":
    1, ...}, ...}}`, or only the mapping of nuclei.

    Contours run through pixel centres (`data.polygons`), so holes are filled. Nuclei are numbered
    from 1 in the file's order, regardless of their keys. Types are numbers or null.

    For tiles, HoVer-Net writes null for `mag`, and the contours are in the tile's own pixels. For
    whole slides, the file's `mag` is the magnification of the contours, which may differ from that
    of the images. Such files are refused unless the option `mag` states that the images have the
    same magnification. Contours are never scaled.
    """

    suffixes = (".json",)

    def __init__(self, mag: float | None = None) -> None:
        self.mag = mag

    @classmethod
    def recognises(cls, path: Path) -> bool:
        return _START.match(read_head(path)) is not None

    def read(self, path: Path, shape: tuple[int, int]) -> TypedInstances:
        content = read_json(path)
        if isinstance(content, dict) and "nuc" in content:
            self._check(content.get("mag"))
            content = content["nuc"]
        if not isinstance(content, dict) or not all(isinstance(n, dict) for n in content.values()):
            raise UnreadablePatch(
                f"unreadable: {path.name} has no mapping nuc as written by HoVer-Net; export it "
                "again"
            )
        nuclei: list[dict[str, Any]] = list(content.values())
        types: dict[int, RawType | None] = {
            number: parse_type(nucleus.get("type"), number)
            for number, nucleus in enumerate(nuclei, 1)
        }
        contours = [
            [[ring(nucleus.get("contour"), number)]] for number, nucleus in enumerate(nuclei, 1)
        ]
        return TypedInstances(fill(contours, shape, "centres"), types)

    def _check(self, mag: Any) -> None:
        if mag is None or mag == self.mag:
            return
        if self.mag is None:
            raise UnreadablePatch(
                f"magnification unknown: the contours are at mag {printable(mag)}; if the images "
                f"are too, give hovernet-json:mag={printable(mag)}"
            )
        raise UnreadablePatch(
            f"another magnification: the contours are at mag {printable(mag)}, the images at "
            f"{self.mag:g}; segment the images themselves"
        )
