"""HoVer-Net's json, one file an image."""

from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from morefromless.data.polygons import Canvas
from morefromless.data.schemes import Told
from morefromless.data.textfiles import head, read_json
from morefromless.errors import UnreadablePatch
from morefromless.segmentations import Segmentation, Segmented


class HovernetJson(Segmentation):
    """What HoVer-Net's inference writes for a tile: `{"mag": 40, "nuc": {"1": {"contour": [[x, y],
    ...], "type": 1, ...}, ...}}`; without `nuc` the nuclei may stand at the top.

    Contours run through pixel centres (`data.polygons`). Types are numbers, or null where the
    network told none apart.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".json",)

    @classmethod
    def recognises(cls, path: Path) -> bool:
        start = head(path).lstrip()
        return start.startswith("{") and (
            '"nuc"' in start or '"contour"' in start or start.replace(" ", "") == "{}"
        )

    def read(self, path: Path, shape: tuple[int, int]) -> Segmented:
        held = read_json(path)
        nuclei = held.get("nuc", held) if isinstance(held, dict) else None
        if not isinstance(nuclei, dict):
            raise UnreadablePatch(f"unreadable: {path.name} has no nuclei as HoVer-Net lists them")
        canvas = Canvas(shape)
        types: dict[int, Told | None] = {}
        for key, nucleus in nuclei.items():
            if not isinstance(nucleus, dict) or "contour" not in nucleus:
                raise UnreadablePatch(
                    f"broken polygon: nucleus {key} of {path.name} has no contour"
                )
            number = canvas.contour(_points(nucleus["contour"], str(key)))
            types[number] = nucleus.get("type")
        return Segmented(canvas.instances, types)


def _points(contour: Any, key: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    try:
        return np.asarray(contour, np.float64).reshape(-1, 2)
    except (ValueError, TypeError) as error:
        raise UnreadablePatch(f"broken polygon: nucleus {key} has no points x, y") from error
