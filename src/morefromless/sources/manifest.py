"""A table of your own pairs: one row per patch, one column per view."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy.typing as npt

from morefromless.data.channels import channel_names, reads_one_page, reorder_channels
from morefromless.data.images import further_pages
from morefromless.data.labels import UNLABELLED, drop_zero_fraction, missing_value_remark
from morefromless.errors import ConfigError, DataError, UnreadablePatch
from morefromless.sources import Datasheet, Item, Source
from morefromless.sources._files import TABLES, View
from morefromless.sources._pair_table import PairTable

__all__ = ["TABLES", "Manifest"]


@dataclass(frozen=True)
class _Patch:
    row: int
    views: dict[str, View]
    """Name -> view. Missing views are not included."""


@dataclass(frozen=True)
class _Loaded:
    items: list[Item]
    patches: dict[str, _Patch]
    optional: frozenset[str]
    remarks: list[str]


class Manifest(Source):
    """A table with a header, .csv (UTF-8) or .parquet, with one row per patch.

    - `id` is unique.
    - `label` is the class; `label=grade` uses another column. A patch with an empty cell has no
      label. If no patch has one, tissue is not known, and only nuclei can define the task.
    - `group` (patient or slide) is optional; `group=case` uses another column. Alternative name:
      `patient`.
    - `split` (train, val, test) is optional. Alternative name: `partition`.

    `group` and `split`, if present, must be filled in all rows. Cells that hold NA, N/A or NaN
    count as empty, and the report of the ingest says so.

    Columns of views become arrays of the same name, such as `he` and `ihc`. These are the columns
    that `modalities=he+ihc` names. Default: every column with an image file (.png, .jpg, .tif) or
    a row of another file (FILE#ROW) in any cell. Rows of a .npy file, images (N, H, W, C) uint8 or
    uint16 or vectors (N, length), are counted from 0. Rows of a .csv or .parquet table of numbers
    are named by its first column. Paths are relative to the table's folder. An empty cell means
    that the patch has no such view. Other columns are ignored.

    Images may be RGB, grey, or have any number of channels (`data.channels`). `channels=DAPI+CD3`
    names the channels of every array that has this many and is not RGB. Otherwise an OME-TIFF may
    name them. If OME-TIFF files differ in channel order, the order of the first file is used.

    Row numbers in messages are those of a spreadsheet: the header is row 1.
    """

    fork_safe = True

    def __init__(
        self,
        path: str,
        label: str | None = None,
        group: str | None = None,
        modalities: str | None = None,
        channels: str | None = None,
    ) -> None:
        self.channels = tuple(name.strip() for name in (channels or "").split("+") if name.strip())
        self.path = Path(path).expanduser()
        self.label, self.group = label, group
        self.modalities = [name.strip() for name in (modalities or "").split("+") if name.strip()]

    def datasheet(self) -> Datasheet:
        loaded = self._loaded
        # The fingerprint of a listing includes the title, so the title includes these names.
        given = f", channels {'+'.join(self.channels)}" * bool(self.channels)
        return Datasheet(
            title=f"{self.path.name}{given}",
            optional=loaded.optional,
            channels=self._channels(),
        )

    def files(self) -> Sequence[Path]:
        """The files of the views. The content of the table is part of `items`."""
        patches = self._loaded.patches.values()
        paths = {view.path for patch in patches for view in patch.views.values()}
        return sorted(path for path in paths if path.is_file())

    def items(self) -> Sequence[Item]:
        return self._loaded.items

    def remarks(self) -> Sequence[str]:
        return self._loaded.remarks

    def skipped_parts(self, item: Item) -> Mapping[str, int]:
        views = self._loaded.patches[item.id].views.values()
        files = [view.path for view in views if view.file is None]
        counts = (Counter(further_pages(path)) for path in files if reads_one_page(path))
        return dict(sum(counts, Counter[str]()))

    def read(self, item: Item) -> dict[str, npt.NDArray[Any]]:
        patch = self._loaded.patches[item.id]
        _first_image(patch)
        arrays = {}
        for name, view in patch.views.items():
            with _locate_errors(patch, name):
                arrays[name] = self._ordered(view, name, view.read())
        return arrays

    def shape(self, item: Item) -> tuple[int, int]:
        patch = self._loaded.patches[item.id]
        name = _first_image(patch)
        with _locate_errors(patch, name):
            return patch.views[name].shape()

    def _channels(self) -> dict[str, tuple[str, ...]]:
        """Array -> names of its channels, or of the values of a vector.

        Channel names are those of the option `channels`, else those of the first readable file.
        """
        vectors = {n: view.names for n, view in self._first_views.items() if view.names is not None}
        return {
            name: self.channels or names for name, names in self._file_channels.items()
        } | vectors

    @cached_property
    def _first_views(self) -> dict[str, View]:
        """Array -> its first readable view."""
        first: dict[str, View] = {}
        for patch in self._loaded.patches.values():
            for name, view in patch.views.items():
                if name not in first and (
                    view.file is not None or _count_channels(view) is not None
                ):
                    first[name] = view
        return first

    @cached_property
    def _file_channels(self) -> dict[str, tuple[str, ...]]:
        """Image array -> channel names in its first file.

        Raises `ConfigError` if no array has as many channels as the option `channels` names.
        """
        images = {name: view for name, view in self._first_views.items() if view.kind == "images"}
        if self.channels:
            counts = {name: _count_channels(view) for name, view in images.items()}
            if counts and len(self.channels) not in counts.values():
                described = ", ".join(f"{name} has {count}" for name, count in counts.items())
                raise ConfigError(
                    f"channels={'+'.join(self.channels)} names {len(self.channels)} channels, but "
                    f"no column has this many: {described}; name all channels of one column."
                )
        return {
            name: channel_names(view.path) if view.file is None else ()
            for name, view in images.items()
        }

    def _ordered(self, view: View, array: str, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """`values` in the channel order of the option `channels`, else of the first file."""
        stated = self._file_channels.get(array, ())
        if view.file is not None or not stated or values.ndim != 3:
            return values
        same = sorted(stated) == sorted(self.channels)
        order = self.channels if same else stated
        return reorder_channels(
            values, channel_names(view.path), order, bool(self.channels) and not same
        )

    @cached_property
    def _loaded(self) -> _Loaded:
        """Loaded by `items`, before threads call `read`."""
        table = PairTable(self.path)
        for name in ("id", self.label, self.group, *self.modalities):
            if name:
                table.require_column(name)
        label = self.label or ("label" if "label" in table.columns else None)
        group, split = self.group or table.column_name("group"), table.column_name("split")
        names = table.view_columns(self.modalities, {"id", label, group, split})
        given = {"label": self.label, "group": self.group}
        expected = [name for name in ("label", "group", "split") if not given.get(name)]
        table.check_misspelt_columns(expected, {"id", label, group, split, *names})
        ids = table.ids()
        labels = table.text_column(label) if label else {}
        if self.label and not any(labels.values()):
            raise DataError(
                f"{self.path.name} has only empty cells in column {label}; use another column."
            )
        groups, splits = table.optional_column(group), table.splits(split)
        views = {name: table.views(name) for name in names}
        kinds = sorted(
            {view.kind for column_views in views.values() for view in column_views.values()}
        )
        if "images" not in kinds:
            raise DataError(
                f"{self.path.name} has no images, only {' and '.join(kinds)}; every patch needs an "
                "image, so add a column such as he."
            )
        items, patches = [], {}
        for row, patch in ids.items():
            patches[patch] = _Patch(row, {n: views[n][row] for n in names if row in views[n]})
            cells = ", ".join(f"{name}={table.columns[name][row]}" for name in patches[patch].views)
            items.append(
                Item(
                    id=patch,
                    label=drop_zero_fraction(labels.get(row) or UNLABELLED),
                    origin=f"row {row}: {cells}",
                    split=splits.get(row),
                    group=drop_zero_fraction(groups[row]) if row in groups else None,
                )
            )
        optional = frozenset(name for name in names if len(views[name]) < len(ids))
        used = [name for name in (label, *names) if name]
        remarks = [
            text for n in used for text in missing_value_remark(n, table.columns[n].values())
        ]
        return _Loaded(items, patches, optional, remarks)


def _first_image(patch: _Patch) -> str:
    for name, view in patch.views.items():
        if view.kind == "images":
            return name
    raise UnreadablePatch(f"no image: row {patch.row} has none; every patch needs an image")


def _count_channels(view: View) -> int | None:
    """Number of channels of an image, or None if it cannot be read. Decoding reports the reason."""
    try:
        return int(view.read().shape[2])
    except UnreadablePatch:
        return None


@contextmanager
def _locate_errors(patch: _Patch, view: str) -> Iterator[None]:
    """Add the row and column to the reason of an `UnreadablePatch`, after its kind."""
    try:
        yield
    except UnreadablePatch as problem:
        kind, _, rest = str(problem).partition(": ")
        where = f"row {patch.row}, column {view}"
        raise UnreadablePatch(f"{kind}: {where}: {rest}") from problem
