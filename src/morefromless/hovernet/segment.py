"""Segment all patches into one GeoJSON file each; resumable, with a record of the weights."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

import morefromless
from morefromless import files
from morefromless.data.geojson import geojson_paths, write_geojson
from morefromless.data.nuclei import Nuclei
from morefromless.data.schemes import PANNUKE
from morefromless.documents import read_json
from morefromless.errors import ConfigError, DataError, UnreadablePatch
from morefromless.hovernet import windows as windowing
from morefromless.hovernet.windows import Maps
from morefromless.progress import Bar
from morefromless.sources import Item, Source

RECORD = "segmentation.json"
REJECTED = "rejected.csv"


class Engine(Protocol):
    """A network that segments windows (`hovernet.network.Hovernet`)."""

    facts: dict[str, str]
    """What determines its predictions: network, weights, versions."""

    def infer(self, windows: npt.NDArray[np.uint8]) -> Maps: ...

    def nuclei(self, maps: Maps) -> tuple[npt.NDArray[np.int32], dict[int, int]]: ...


@dataclass(frozen=True)
class SegmentReport:
    """Counts of one call of `segment`; `str(report)` is the last line to print."""

    folder: Path
    segmented: int
    """Patches segmented by this call."""
    resumed: int
    """Patches that were already segmented."""
    nuclei: int
    """Nuclei found by this call."""
    too_small: int
    """Nuclei that are too small for the patch's own grid."""
    rejected: int
    """Patches that could not be read."""

    def __str__(self) -> str:
        dropped = f", {self.too_small} of them too small for the patch's pixels" * bool(
            self.too_small
        )
        rejected = f"; {self.rejected} rejected (listed in {self.folder / REJECTED})"
        return (
            f"{self.folder} has {self.segmented + self.resumed:,} patches, {self.segmented:,} of "
            f"them segmented now ({self.nuclei:,} nuclei{dropped})" + rejected * bool(self.rejected)
        )


def segment(
    source: Source,
    folder: Path,
    engine: Callable[[], Engine],
    *,
    um_per_px: float | None = None,
    at: float = 0.25,
    batch: int = 16,
) -> SegmentReport:
    """Segment the array `he` of every patch of `source` into `folder/ID.geojson`.

    Patches of `um_per_px` (by default the source's own value) are rescaled to `at` µm/px, the
    magnification of the network; nuclei are converted back to the patches' own grid. Patches that
    are already segmented are skipped, and their record must agree with this network. The engine is
    built only if patches remain. Raises `ConfigError` if the magnification is unknown. Raises
    `DataError` if the folder contains another segmentation, or if two ids would share a file.
    """
    items = source.items()
    sheet = source.datasheet()
    scale = um_per_px or sheet.um_per_px
    if scale is None:
        raise ConfigError(
            f"The magnification of {sheet.title} is unknown; give it with --um-per-px, such as "
            "0.5 for 20x."
        )
    if not at > 0 or not scale > 0:
        raise ConfigError(f"--um-per-px {scale} and --at {at} must be greater than 0.")
    root = folder.resolve()
    paths = geojson_paths([item.id for item in items], root)
    todo = [k for k, path in enumerate(paths) if not path.is_file()]
    settings = {"um_per_px": scale, "at": at, "source": sheet.title}
    facts = _read_record(root)
    if facts is not None:
        _check_record(root, facts, settings)
    if not todo:
        return SegmentReport(folder, 0, len(items), 0, 0, 0)
    network = engine()
    if facts is not None:
        _check_record(root, facts, network.facts)
    else:
        _write_record(root, {**settings, **network.facts})
    counts = {"nuclei": 0, "too_small": 0}
    rejected: list[dict[str, str]] = []
    progress_bar = Bar(
        todo,
        desc="segmenting",
        total=len(items),
        initial=len(items) - len(todo),
        unit=" patches",
    )
    for group in _grouped(source, items, progress_bar, scale / at, batch, rejected):
        _segment(group, paths, network, batch, counts)
    files.write_csv(root / REJECTED, pd.DataFrame(rejected, columns=["id", "reason"]))
    return SegmentReport(
        folder,
        len(todo) - len(rejected),
        len(items) - len(todo),
        counts["nuclei"],
        counts["too_small"],
        len(rejected),
    )


@dataclass(frozen=True)
class _Patch:
    index: int
    shape: tuple[int, int]
    """Height and width of the patch."""
    enlarged: tuple[int, int]
    windows: npt.NDArray[np.uint8]


def _grouped(
    source: Source,
    items: Sequence[Item],
    todo: Bar,
    factor: float,
    batch: int,
    rejected: list[dict[str, str]],
) -> Iterator[list[_Patch]]:
    """Yield groups of patches whose windows fill a batch; add unreadable patches to `rejected`."""
    group: list[_Patch] = []
    for index in todo:
        try:
            image = source.read(items[index]).get("he")
            if image is None:
                raise UnreadablePatch("no H&E image: the source has no array 'he'")
        except UnreadablePatch as problem:
            rejected.append({"id": items[index].id, "reason": str(problem)})
            continue
        enlarged = windowing.rescale(image, factor)
        height, width, _ = image.shape
        group.append(_Patch(index, (height, width), enlarged.shape[:2], windowing.split(enlarged)))
        if sum(len(patch.windows) for patch in group) >= batch:
            yield group
            group = []
    if group:
        yield group


def _segment(
    group: list[_Patch], paths: Sequence[Path], engine: Engine, batch: int, counts: dict[str, int]
) -> None:
    windows = np.concatenate([patch.windows for patch in group])
    parts = [engine.infer(windows[k : k + batch]) for k in range(0, len(windows), batch)]
    maps = [np.concatenate(kind) for kind in zip(*parts, strict=True)]
    start = 0
    for patch in group:
        stop = start + len(patch.windows)
        whole = tuple(windowing.stitch(kind[start:stop], patch.enlarged) for kind in maps)
        start = stop
        instances, types = engine.nuclei(whole)
        instances, dropped = windowing.to_grid(instances, patch.shape)
        ids = set(np.unique(instances).tolist())
        types = {number: kind for number, kind in types.items() if number in ids}
        nuclei = Nuclei.typed(instances, types, PANNUKE)
        write_geojson(nuclei, PANNUKE, paths[patch.index])
        counts["nuclei"] += len(types)
        counts["too_small"] += dropped


def _read_record(root: Path) -> dict[str, Any] | None:
    path = root / RECORD
    if not path.is_file():
        if root.is_dir() and any(root.rglob("*.geojson")):
            raise DataError(
                f"{root} contains segmentations but no {RECORD}, so the network is unknown; "
                "choose another folder."
            )
        return None
    try:
        return read_json(path, dict[str, Any])
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is damaged; choose another folder.") from error


def _check_record(root: Path, record: dict[str, Any], current: dict[str, Any]) -> None:
    """Raise `DataError` if the record of the folder disagrees with the current settings."""
    identity = ("network", "weights_sha256", "um_per_px", "at", "source")
    differing = [
        f"{key} {record.get(key)}, not {current[key]}"
        for key in identity
        if key in current and record.get(key) != current[key]
    ]
    if differing:
        raise DataError(
            f"{root} contains another segmentation ({'; '.join(differing)}); remove it, or choose "
            "another folder."
        )


def _write_record(root: Path, facts: dict[str, Any]) -> None:
    root.mkdir(parents=True, exist_ok=True)
    files.write_json(
        root / RECORD,
        {**facts, "scheme": PANNUKE.to_json(), "morefromless": morefromless.__version__},
    )
