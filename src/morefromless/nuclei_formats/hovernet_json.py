"""HoVer-Net's json, one file an image."""

import re
from pathlib import Path
from typing import Any

from morefromless.data.outlines import ring
from morefromless.data.polygons import fill
from morefromless.data.schemes import RawType
from morefromless.errors import UnreadablePatch
from morefromless.nuclei_formats import NucleiFormat, TypedInstances
from morefromless.nuclei_formats._files import head, parse_type, plain, read_json

_START = re.compile(
    r'\s*\{(\s*"mag"\s*:[^,{}]*,)?\s*("nuc"\s*:|"[^"]*"\s*:\s*\{\s*"(bbox|contour)"\s*:)'
)


class HovernetJson(NucleiFormat):
    """HoVer-Net's json for tiles: `{"mag": null, "nuc": {"1": {"contour": [[x, y], ...], "type":
    1, ...}, ...}}`, or that mapping of nuclei alone.

    Contours run through pixel centres (`data.polygons`), so holes come back closed. Nuclei are
    numbered from 1 in the file's order, whatever their keys. Types are numbers, or null.

    HoVer-Net writes null for `mag` of tiles, whose contours are in the tile's own pixels. For whole
    slides it names the magnification of its contours, which need not be the images': such files
    are refused unless `mag` says that the images have the same one. Contours are never scaled.
    """

    suffixes = (".json",)

    def __init__(self, mag: float | None = None) -> None:
        self.mag = mag

    @classmethod
    def recognises(cls, path: Path) -> bool:
        return _START.match(head(path)) is not None

    def read(self, path: Path, shape: tuple[int, int]) -> TypedInstances:
        content = read_json(path)
        if isinstance(content, dict) and "nuc" in content:
            self._check(content.get("mag"))
            content = content["nuc"]
        if not isinstance(content, dict) or not all(isinstance(n, dict) for n in content.values()):
            raise UnreadablePatch(
                f"unreadable: {path.name} lists no nuclei as HoVer-Net does; it should hold nuc"
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
                f"magnification unknown: the contours are at mag {plain(mag)}; if the images are "
                f"too, say hovernet-json:mag={plain(mag)}"
            )
        raise UnreadablePatch(
            f"another magnification: the contours are at mag {plain(mag)}, the images at "
            f"{self.mag:g}; segment the images themselves"
        )
