"""Cut whole slides into tiles of tissue at one or two magnifications."""

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from morefromless import files
from morefromless.config import TileConfig
from morefromless.data.annotations import annotation_file, is_ignored, read_annotations
from morefromless.data.labels import UNLABELLED
from morefromless.data.lru_cache import LruCache
from morefromless.data.slide_files import slide_files, slide_name, slide_parts
from morefromless.data.slide_readers import open_slide
from morefromless.data.slides import Slide, rejection_reason
from morefromless.data.tissue import find_tissue, tissue_tiles
from morefromless.devices import available_cores
from morefromless.documents import read_json
from morefromless.errors import DataError, UnreadablePatch, none_usable
from morefromless.ingest.decoding import most_frequent
from morefromless.ingest.parallel import threaded
from morefromless.ingest.preview import write_preview
from morefromless.progress import Bar
from morefromless.sources import Datasheet, Item, Source

LOW_POWER = "low-power"
"""The array with the same field at fewer pixels."""
FOLDER = "slides"
"""Folder of a store with the tile list and the preview of each slide."""
MAX_OPEN_SLIDES = 8
"""Maximum number of open slides."""


@dataclass(frozen=True)
class SlideTiles:
    """The survey of one slide, stored in `NAME.json`."""

    fingerprint: str
    """Fingerprint of the slide's files and the options."""
    um_per_px: float | None
    """Scale of the slide's finest level."""
    size: tuple[int, int]
    """Width and height of the finest level in px."""
    tiles: list[tuple[int, int, str | None]]
    """x and y of each tile in px of the finest level, and its label (None without annotation)."""
    unannotated: int
    """Excluded tiles of tissue: without annotation, or with one that is to be ignored."""
    reason: str | None
    """Why the slide has no tiles, or None."""


class Tiles(Source):
    """Tiles of tissue of whole slides.

    `he` is read at `mpp`. If requested, `low-power` is the same field at fewer pixels, and
    `context` is a wider field around the same centre at the same number of pixels. Both are read
    from the slide's own pyramid. Slides are surveyed once, one slide per thread. The store's
    folder `slides` keeps the surveys and a preview of each slide. The group is the slide's name.
    """

    def __init__(self, config: TileConfig) -> None:
        if config.annotations and not config.annotations.is_dir():
            raise DataError(f"There is no folder {config.annotations}; check --annotations.")
        self.config = config
        self._slides = named_slides(slide_files([path.expanduser() for path in config.slides]))
        self._open = LruCache[Slide](MAX_OPEN_SLIDES)

    def datasheet(self) -> Datasheet:
        config, count = self.config, len(self._slides)
        parts = [f"{config.size} px at {config.mpp:g} µm/px"]
        if config.low_power:
            parts.append(f"the same field at {config.low_power:g}")
        if config.context:
            parts.append(f"a wider field at {config.context:g}")
        of = f"{count} slides" if count > 1 else f"slide {next(iter(self._slides))}"
        return Datasheet(
            title=f"Tiles of {of}: {', '.join(parts)}, {config.tissue:.0%} tissue or more",
            um_per_px=config.mpp,
            scales={"context": config.context} if config.context else {},
        )

    def files(self) -> Sequence[Path]:
        annotations = [annotation_file(self.config.annotations, name) for name in self._slides]
        slides = (part for path in self._slides.values() for part in slide_parts(path))
        return [*slides, *(path for path in annotations if path)]

    def items(self) -> Sequence[Item]:
        root = Path(os.path.commonpath([path.parent for path in self._slides.values()]))
        reasons = Counter(survey.reason for survey in self._surveys.values() if survey.reason)
        if reasons.total() == len(self._slides):
            raise none_usable(len(self._slides), *most_frequent(reasons), "slide")
        items = []
        for name, path in self._slides.items():
            origin = path.relative_to(root).as_posix()
            survey = self._surveys[name]
            if survey.reason is not None:
                items.append(Item(name, UNLABELLED, origin, group=name))
            items += [
                Item(
                    f"{name}_x{x}_y{y}",
                    label or UNLABELLED,
                    f"{origin}, x {x}, y {y}",
                    group=name,
                    place=(x, y),
                )
                for x, y, label in survey.tiles
            ]
        return items

    def skipped_files(self) -> Mapping[str, int]:
        outside = sum(survey.unannotated for survey in self._surveys.values())
        kind = "to be ignored" if self.config.unlabelled else "that no annotation covers"
        return {f"tile {kind}": outside} if outside else {}

    def read(self, item: Item) -> dict[str, npt.NDArray[np.uint8]]:
        config, name = self.config, item.id
        if item.place is None:
            raise UnreadablePatch(self._surveys[name].reason)
        name = name.removesuffix(f"_x{item.place[0]}_y{item.place[1]}")
        path, (x, y) = self._slides[name], item.place
        slide = self._open.get(name, lambda: open_slide(path, config.um_per_px))
        arrays = {"he": slide.read(x, y, config.size, config.size, config.mpp)}
        if config.low_power:
            side = config.low_power_size
            arrays[LOW_POWER] = slide.read(x, y, side, side, config.low_power)
        if config.context:
            margin = config.size * (slide.scale(config.context) - slide.scale(config.mpp)) / 2
            arrays["context"] = slide.read(
                x - margin, y - margin, config.size, config.size, config.context
            )
        return arrays

    @cached_property
    def _surveys(self) -> dict[str, SlideTiles]:
        """Slide name -> survey. Surveys in the store, or in an unfinished one, are reused."""
        store = self.config.store
        unfinished = store.with_name(f"{store.name}.partial") / FOLDER
        folder = store / FOLDER if store.exists() else unfinished
        surveys = {
            name: load_survey(folder, name, self.config, p) for name, p in self._slides.items()
        }
        missing = [name for name, survey in surveys.items() if survey is None]
        if missing and folder is not unfinished and any(store.iterdir()):
            raise DataError(
                f"{store} exists and was not made from these slides with these options; remove it, "
                "or choose another destination."
            )

        def survey(name: str) -> str:
            survey_slide(self._slides[name], name, unfinished, self.config)
            return name

        workers = self.config.workers or available_cores()
        with Bar(
            desc="finding tissue",
            total=len(surveys),
            initial=len(surveys) - len(missing),
            unit=" slides",
        ) as bar:
            for name in threaded(survey, missing, workers):
                surveys[name] = load_survey(unfinished, name, self.config, self._slides[name])
                bar.update()
        return {name: survey for name, survey in surveys.items() if survey is not None}


def named_slides(paths: Sequence[Path]) -> dict[str, Path]:
    """`slide_name` -> slide. Raises `DataError` if two slides have the same name.

    >>> list(named_slides([Path("a/1.svs"), Path("a/2.ome.tif"), Path("a/3/x.dcm")]))
    ['1', '2', '3']
    """
    slides: dict[str, Path] = {}
    for path in paths:
        name = slide_name(path)
        if slides.setdefault(name, path.absolute()) != path.absolute():
            raise DataError(f"{slides[name]} and {path} are both named {name}; rename one.")
    return slides


def survey_slide(path: Path, name: str, folder: Path, config: TileConfig) -> None:
    """Find the tiles of one slide; write `NAME.json` and the preview `NAME.png` into `folder`."""
    tiles: list[tuple[int, int, str | None]] = []
    unannotated, reason = 0, None
    size, um_per_px = (0, 0), None
    preview = folder / f"{name}.png"
    try:
        preview.unlink(missing_ok=True)  # of other options
        slide = open_slide(path, config.um_per_px)
        size, um_per_px = slide.size, slide.um_per_px
        slide.check_resolution(config.mpp, "--mpp")
        tissue = find_tissue(slide)
        corners = tissue_tiles(slide, tissue, config.size, config.mpp, config.tissue)
        labels: list[str | None] = [None] * len(corners)
        file = annotation_file(config.annotations, name)
        if file:
            side = config.size * slide.scale(config.mpp)
            labels = read_annotations(file).labels(corners - np.array(slide.origin), side)
        elif config.annotations and not config.unlabelled:
            raise UnreadablePatch(
                f"no annotations: there is no {name}.geojson in {config.annotations}; add it, or "
                "use --unlabelled"
            )
        keep_unannotated = config.unlabelled or not config.annotations
        tiles = [
            (x, y, label)
            for (x, y), label in zip(corners.tolist(), labels, strict=True)
            if (not is_ignored(label) if label else keep_unannotated)
        ]
        unannotated = len(corners) - len(tiles)
        if not len(corners):
            share = f"{config.tissue:.0%}"
            reason = f"no tissue: no tile of {path.name} has {share} tissue; lower --tissue"
        elif not tiles:
            reason = (
                f"no annotations: none covers half of a tissue tile of {path.name}; correct them"
            )
        write_preview(preview, name, slide, tissue, tiles, config)
    except DataError as error:
        if isinstance(error, files.StorageError):
            raise
        reason = rejection_reason(error)
    survey = SlideTiles(
        fingerprint(path, name, config), um_per_px, size, tiles, unannotated, reason
    )
    files.write_json(folder / f"{name}.json", survey)


def load_survey(folder: Path, name: str, config: TileConfig, path: Path) -> SlideTiles | None:
    """Load the survey of this slide with these options, or None if there is no valid one."""
    try:
        survey = read_json(folder / f"{name}.json", SlideTiles)
    except (OSError, ValueError):
        return None
    return survey if survey.fingerprint == fingerprint(path, name, config) else None


def fingerprint(path: Path, name: str, config: TileConfig) -> str:
    """blake2b-128 of everything that determines the tiles of a slide."""
    if not path.is_file():
        raise DataError(f"There is no slide {path}; check the path.")
    sources = [*slide_parts(path), *filter(None, [annotation_file(config.annotations, name)])]
    facts: list[Any] = [(p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in sources]
    options = [config.mpp, config.size, config.um_per_px, config.tissue, bool(config.annotations)]
    options += [True] * config.unlabelled  # if off, same fingerprint as before the option existed
    return blake2b(json.dumps([facts, options]).encode(), digest_size=16).hexdigest()
