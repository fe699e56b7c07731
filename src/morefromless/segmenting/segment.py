"""The loop: a GeoJSON file a patch, resumable, with a record of what made it."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
from tqdm import tqdm

import morefromless
from morefromless.data import atomic
from morefromless.data.geojson import write_geojson
from morefromless.data.images import bare
from morefromless.data.nuclei import Nuclei
from morefromless.data.schemes import PANNUKE
from morefromless.errors import ConfigError, DataError, UnreadablePatch
from morefromless.segmenting import windows as windowing
from morefromless.sources import Item, Source

RECORD = "segmentation.json"
ASIDE = "set_aside.csv"

Maps = tuple[npt.NDArray[np.float32], ...]


class Engine(Protocol):
    """A network that segments windows (`segmenting.hovernet.Hovernet`)."""

    facts: dict[str, str]
    """What determines its answers: network, weights, versions."""

    def infer(self, windows: npt.NDArray[np.uint8]) -> Maps: ...

    def nuclei(self, maps: Maps) -> tuple[npt.NDArray[np.int32], dict[int, int]]: ...


@dataclass(frozen=True)
class SegmentReport:
    """What came of it; `str` of it is the last line to print."""

    folder: Path
    segmented: int
    """Patches segmented now."""
    already: int
    """Patches that were segmented before."""
    nuclei: int
    """Nuclei found now."""
    vanished: int
    """Nuclei too small for the patch's own grid."""
    set_aside: int

    def __str__(self) -> str:
        lost = f", {self.vanished} of them too small for the patch's pixels" * bool(self.vanished)
        aside = f"; {self.set_aside} set aside (listed in {self.folder / ASIDE})"
        return (
            f"{self.folder} holds {self.segmented + self.already:,} patches, {self.segmented:,} of "
            f"them segmented now ({self.nuclei:,} nuclei{lost})" + aside * bool(self.set_aside)
        )


def segment(
    source: Source,
    folder: Path,
    engine: Callable[[], Engine],
    *,
    um_per_px: float | None = None,
    at: float = 0.25,
    batch: int = 16,
    progress: bool = True,
) -> SegmentReport:
    """Segment the `he` of every patch of `source` into `folder/ID.geojson`.

    Patches of `um_per_px` (by default what the source says) are brought to `at` µm/px, the
    network's, and the nuclei back to the patches' own grid. Patches that are there already are
    passed over, and what made them is held against what would make the others; the engine is built
    only where there is something to do. Raises `ConfigError` where the magnification is not known,
    `DataError` where the folder holds another segmentation.
    """
    items = source.items()
    sheet = source.datasheet()
    scale = um_per_px or sheet.um_per_px
    if scale is None:
        raise ConfigError(
            f"The magnification of {sheet.title} is not known; give it with --um-per-px, such as "
            "0.5 for 20x."
        )
    if not at > 0 or not scale > 0:
        raise ConfigError(f"--um-per-px {scale} and --at {at} should be more than 0.")
    root = folder.resolve()
    paths = [_path(root, item) for item in items]
    todo = [k for k, path in enumerate(paths) if not path.is_file()]
    made = {"um_per_px": scale, "at": at, "source": sheet.title}
    facts = _record(root)
    if facts is not None:
        _check(root, facts, made)
    if not todo:
        return SegmentReport(folder, 0, len(items), 0, 0, 0)
    built = engine()
    if facts is not None:
        _check(root, facts, built.facts)
    else:
        _begin(root, {**made, **built.facts})
    counts = {"nuclei": 0, "vanished": 0}
    aside: list[dict[str, str]] = []
    shown = tqdm(
        todo,
        desc="segmenting",
        total=len(items),
        initial=len(items) - len(todo),
        unit=" patches",
        disable=not progress,
        dynamic_ncols=True,
    )
    for group in _grouped(source, items, shown, scale / at, batch, aside):
        _segment(group, paths, built, batch, counts)
    atomic.write_text(
        root / ASIDE, pd.DataFrame(aside, columns=["id", "reason"]).to_csv(index=False)
    )
    return SegmentReport(
        folder,
        len(todo) - len(aside),
        len(items) - len(todo),
        counts["nuclei"],
        counts["vanished"],
        len(aside),
    )


@dataclass(frozen=True)
class _Patch:
    index: int
    shape: tuple[int, int]
    """Its own height and width."""
    enlarged: tuple[int, int]
    windows: npt.NDArray[np.uint8]


def _grouped(
    source: Source,
    items: Sequence[Item],
    todo: "tqdm[int]",
    factor: float,
    batch: int,
    aside: list[dict[str, str]],
) -> Iterator[list[_Patch]]:
    """Patches until their windows fill a batch; what cannot be read is put into `aside`."""
    group: list[_Patch] = []
    for index in todo:
        try:
            image = source.read(items[index]).get("he")
            if image is None:
                raise UnreadablePatch("no H&E image: the source has no array 'he'")
        except UnreadablePatch as problem:
            aside.append({"id": items[index].id, "reason": str(problem)})
            continue
        enlarged = windowing.scaled(image, factor)
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
        instances, lost = windowing.brought_back(instances, patch.shape)
        left = set(np.unique(instances).tolist())
        kept = {number: kind for number, kind in types.items() if number in left}
        nuclei = Nuclei.typed(instances, kept, PANNUKE)
        write_geojson(nuclei, PANNUKE, paths[patch.index])
        counts["nuclei"] += len(kept)
        counts["vanished"] += lost


def _path(root: Path, item: Item) -> Path:
    path = root / f"{bare(item.id)}.geojson"
    if not path.resolve().is_relative_to(root):
        raise DataError(f"The id '{item.id}' would be written outside {root}; nothing is.")
    return path


def _record(root: Path) -> dict[str, Any] | None:
    path = root / RECORD
    if not path.is_file():
        if root.is_dir() and any(root.rglob("*.geojson")):
            raise DataError(
                f"{root} holds segmentations and no {RECORD}, so what made them is not known; "
                "choose another folder."
            )
        return None
    try:
        held: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is damaged; choose another folder.") from error
    return held


def _check(root: Path, held: dict[str, Any], now: dict[str, Any]) -> None:
    """What made the patches that are there must make the others too."""
    telling = ("network", "weights_sha256", "um_per_px", "at", "source")
    differing = [
        f"{key} {held.get(key)}, not {now[key]}"
        for key in telling
        if key in now and held.get(key) != now[key]
    ]
    if differing:
        raise DataError(
            f"{root} holds another segmentation ({'; '.join(differing)}); remove it, or choose "
            "another folder."
        )


def _begin(root: Path, made: dict[str, Any]) -> None:
    root.mkdir(parents=True, exist_ok=True)
    atomic.write_json(
        root / RECORD,
        {**made, "scheme": PANNUKE.to_json(), "morefromless": morefromless.__version__},
    )
