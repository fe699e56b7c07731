"""A table of one's own pairs: a row is a patch, a column is a view."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy.typing as npt

from morefromless.data.channels import channel_names, in_order, reads_one_page
from morefromless.data.images import further_pages
from morefromless.data.labels import UNLABELLED, no_value_remark, whole_number
from morefromless.errors import ConfigError, DataError, UnreadablePatch
from morefromless.sources import Datasheet, Item, Source
from morefromless.sources._files import TABLES, View
from morefromless.sources._pair_table import PairTable

__all__ = ["TABLES", "Manifest"]


@dataclass(frozen=True)
class _Patch:
    row: int
    views: dict[str, View]
    """What the patch lacks is not there."""


@dataclass(frozen=True)
class _Loaded:
    items: list[Item]
    patches: dict[str, _Patch]
    optional: frozenset[str]
    remarks: list[str]


class Manifest(Source):
    """A table with a header, .csv (UTF-8) or .parquet, in which every row is a patch.

    `id` is unique; `label` is the class, or `label=grade` takes another column, and where a cell is
    empty the patch has no label (without any, tissue is not known and nuclei have to pose the
    task); `group` (patient or slide; `group=case` takes another column) and `split` (train, val,
    test) may be there, in all rows then; they may be called `patient` and `partition` too.

    Cells that hold NA, N/A or NaN count as empty, and the report of the ingest says so.

    Columns of views become arrays of their name, such as `he` and `ihc`: those that
    `modalities=he+ihc` names, else every column in which a cell is an image file (.png, .jpg, .tif)
    or one row of another file, FILE#ROW. Rows of a .npy file, images (N, H, W, C) uint8 or uint16
    or vectors (N, length), are counted from 0; those of a .csv or .parquet table of numbers are
    called by its first column. Paths begin at the table's folder. An empty cell says that the patch
    lacks that view. Other columns are not looked at.

    Images may be RGB, grey, or have any number of channels (`data.channels`). `channels=DAPI+CD3`
    names those of every array that has so many and is no RGB; otherwise an OME-TIFF may. Those
    of an OME-TIFF in another order than the first one's are brought to its order.

    Messages count rows as a spreadsheet does: the header is row 1.
    """

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

    @property
    def fork_safe(self) -> bool:
        return True

    def datasheet(self) -> Datasheet:
        loaded = self._loaded
        # The names are in the title, of which a listing's fingerprint is made.
        given = f", channels {'+'.join(self.channels)}" * bool(self.channels)
        return Datasheet(
            title=f"{self.path.name}{given}",
            optional=loaded.optional,
            channels=self._channels(),
        )

    def files(self) -> Sequence[Path]:
        """The files of the views; what the table itself says stands in `items`."""
        patches = self._loaded.patches.values()
        paths = {view.path for patch in patches for view in patch.views.values()}
        return sorted(path for path in paths if path.is_file())

    def items(self) -> Sequence[Item]:
        return self._loaded.items

    def remarks(self) -> Sequence[str]:
        return self._loaded.remarks

    def omitted(self, item: Item) -> Mapping[str, int]:
        views = self._loaded.patches[item.id].views.values()
        files = [view.path for view in views if view.file is None]
        counts = (Counter(further_pages(path)) for path in files if reads_one_page(path))
        return dict(sum(counts, Counter[str]()))

    def read(self, item: Item) -> dict[str, npt.NDArray[Any]]:
        patch = self._loaded.patches[item.id]
        _first_image(patch)
        arrays = {}
        for name, view in patch.views.items():
            with _naming(patch, name):
                arrays[name] = self._ordered(view, name, view.read())
        return arrays

    def shape(self, item: Item) -> tuple[int, int]:
        patch = self._loaded.patches[item.id]
        name = _first_image(patch)
        with _naming(patch, name):
            return patch.views[name].shape()

    def _channels(self) -> dict[str, tuple[str, ...]]:
        """Names of channels, and of a vector's values, by array: those of channels that were given,
        else those of the first file that can be read."""
        vectors = {n: view.names for n, view in self._first.items() if view.names is not None}
        return {name: self.channels or names for name, names in self._stated.items()} | vectors

    @cached_property
    def _first(self) -> dict[str, View]:
        """The first view of each array that can be read."""
        first: dict[str, View] = {}
        for patch in self._loaded.patches.values():
            for name, view in patch.views.items():
                if name not in first and (view.file is not None or _count(view) is not None):
                    first[name] = view
        return first

    @cached_property
    def _stated(self) -> dict[str, tuple[str, ...]]:
        """What the first file of each array of images calls its channels.

        Raises `ConfigError` where no array has as many as were given.
        """
        images = {name: view for name, view in self._first.items() if view.kind == "images"}
        if self.channels:
            counts = {name: _count(view) for name, view in images.items()}
            if counts and len(self.channels) not in counts.values():
                held = ", ".join(f"{name} has {count}" for name, count in counts.items())
                raise ConfigError(
                    f"channels={'+'.join(self.channels)} names {len(self.channels)} channels, and "
                    f"no column has so many: {held}; name every channel of one."
                )
        return {
            name: channel_names(view.path) if view.file is None else ()
            for name, view in images.items()
        }

    def _ordered(self, view: View, array: str, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The channels of a file in the order of those that were given, else of the first file."""
        stated = self._stated.get(array, ())
        if view.file is not None or not stated or values.ndim != 3:
            return values
        same = sorted(stated) == sorted(self.channels)
        order = self.channels if same else stated
        return in_order(values, channel_names(view.path), order, bool(self.channels) and not same)

    @cached_property
    def _loaded(self) -> _Loaded:
        """Read by `items`, before threads read."""
        table = PairTable(self.path)
        for name in ("id", self.label, self.group, *self.modalities):
            if name:
                table.need(name)
        label = self.label or ("label" if "label" in table.columns else None)
        group, side = self.group or table.column("group"), table.column("split")
        names = table.view_columns(self.modalities, {"id", label, group, side})
        given = {"label": self.label, "group": self.group}
        expected = [name for name in ("label", "group", "split") if not given.get(name)]
        table.refuse_near(expected, {"id", label, group, side, *names})
        ids = table.ids()
        labels = table.texts(label) if label else {}
        if self.label and not any(labels.values()):
            raise DataError(f"{self.path.name} has nothing in column {label}; name another.")
        groups, splits = table.if_known(group), table.splits(side)
        views = {name: table.views(name) for name in names}
        kinds = sorted({view.kind for held in views.values() for view in held.values()})
        if "images" not in kinds:
            raise DataError(
                f"{self.path.name} has no images, only {' and '.join(kinds)}; a patch needs an "
                "image beside them, such as in a column he."
            )
        items, patches = [], {}
        for row, patch in ids.items():
            patches[patch] = _Patch(row, {n: views[n][row] for n in names if row in views[n]})
            cells = ", ".join(f"{name}={table.columns[name][row]}" for name in patches[patch].views)
            items.append(
                Item(
                    id=patch,
                    label=whole_number(labels.get(row) or UNLABELLED),
                    origin=f"row {row}: {cells}",
                    split=splits.get(row),
                    group=whole_number(groups[row]) if row in groups else None,
                )
            )
        optional = frozenset(name for name in names if len(views[name]) < len(ids))
        used = [name for name in (label, *names) if name]
        remarks = [text for n in used for text in no_value_remark(n, table.columns[n].values())]
        return _Loaded(items, patches, optional, remarks)


def _first_image(patch: _Patch) -> str:
    for name, view in patch.views.items():
        if view.kind == "images":
            return name
    raise UnreadablePatch(f"no image: row {patch.row} has none, and a patch needs one")


def _count(view: View) -> int | None:
    """Channels of an image; None where it cannot be read, which is said where it is decoded."""
    try:
        return int(view.read().shape[2])
    except UnreadablePatch:
        return None


@contextmanager
def _naming(patch: _Patch, view: str) -> Iterator[None]:
    """Name the cell in the reason why a patch cannot be used, after the kind of reason."""
    try:
        yield
    except UnreadablePatch as problem:
        kind, _, rest = str(problem).partition(": ")
        where = f"row {patch.row}, column {view}"
        raise UnreadablePatch(f"{kind}: {where}: {rest}") from problem
