"""TIAToolbox's `.dat`: nuclei in a joblib file."""

from pathlib import Path
from typing import Any

from morefromless.data.outlines import Polygon, ring
from morefromless.data.polygons import fill
from morefromless.data.schemes import RawType
from morefromless.errors import UnreadablePatch
from morefromless.nuclei_formats import NucleiFormat, TypedInstances
from morefromless.nuclei_formats._files import parse_type, printable
from morefromless.nuclei_formats._joblib import SIGNATURES, read_joblib
from morefromless.regular import open_regular

SCALES = ("proc_resolution", "base_resolution")
"""Keys for the scale of the contours and of the image, in files of some networks."""


class TiatoolboxDat(NucleiFormat):
    """Output of TIAToolbox's nucleus segmentation: a dictionary of nuclei with any ids, each with
    `contour` (n, 2) x, y through pixel centres (`data.polygons`) and `type`, a number or a name.

    Nuclei are numbered from 1 in the file's order. The file is a pickle. Only plain data and arrays
    are read, no code is executed, and a file that needs more is refused. Files are also refused if
    their contours have another scale than the image, or if they contain several heads (such as
    glands and nuclei).
    """

    suffixes = (".dat",)

    @classmethod
    def recognises(cls, path: Path) -> bool:
        try:
            with open_regular(path) as file:
                return file.read(2).startswith(SIGNATURES)
        except (UnreadablePatch, OSError):
            return False

    def read(self, path: Path, shape: tuple[int, int]) -> TypedInstances:
        content = read_joblib(path)
        if not isinstance(content, dict):
            raise UnreadablePatch(
                f"unreadable: {path.name} is not a dictionary of nuclei as written by TIAToolbox"
            )
        contours, image = (_scale(content[name]) if name in content else None for name in SCALES)
        if contours != image:
            raise UnreadablePatch(
                f"another magnification: contours at {contours or 'none stated'}, the image "
                f"at {image or 'none stated'}; segment the images themselves"
            )
        outlines: list[list[Polygon]] = []
        types: dict[int, RawType | None] = {}
        for key, nucleus in content.items():
            if key in SCALES:
                continue
            number = len(outlines) + 1
            outlines.append([[ring(_contour(nucleus, key), number)]])
            types[number] = parse_type(nucleus.get("type"), number)
        return TypedInstances(fill(outlines, shape, "centres"), types)


def _scale(scale: Any) -> str:
    number, unit = (
        (scale.get("resolution"), scale.get("units")) if isinstance(scale, dict) else (scale, None)
    )
    if not isinstance(number, (int, float)):
        raise UnreadablePatch("unreadable: the file's resolution is not a number; write it again")
    return f"{printable(number)} {printable(unit)}" if isinstance(unit, str) else printable(number)


def _contour(nucleus: Any, key: Any) -> Any:
    if isinstance(nucleus, dict):
        for name in ("contour", "contours"):  # up to version 1.6, and from 2.0
            if name in nucleus:
                return nucleus[name]
        if any(isinstance(value, dict) for value in nucleus.values()):
            raise UnreadablePatch(
                f"several heads: '{printable(key)}' contains its own nuclei; write one head per "
                "file"
            )
    raise UnreadablePatch(
        f"unreadable: '{printable(key)}' is not a nucleus with a contour; write it again"
    )
