"""Spatial transcriptomics: the H&E patch around each spot, and the gene counts of the spot."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from morefromless.data.expression import Counts, has_counts, read_counts
from morefromless.data.genes import (
    check_gene_list,
    common_genes,
    log_normalise,
    most_variable,
    read_gene_list,
)
from morefromless.data.labels import UNLABELLED, missing_value_remark
from morefromless.data.lru_cache import LruCache
from morefromless.data.sections import (
    find_sections,
    patch_corners,
    read_column,
    read_section_image,
    scale_factor,
)
from morefromless.data.space_ranger import read_space_ranger
from morefromless.data.spatial_zarr import is_spatialdata, read_spatialdata
from morefromless.data.splits import Split
from morefromless.errors import ConfigError, DataError, UnreadablePatch
from morefromless.progress import Bar
from morefromless.sources import Datasheet, Item, Source

CACHED_IMAGES = 2
"""Decoded images in the cache. An image of 9,300 x 9,900 px takes 276 MB."""


@dataclass(frozen=True)
class _Spot:
    """The data that `read` returns for a spot, or the reason why the spot is rejected."""

    image: Path
    left: int
    top: int
    expression: npt.NDArray[np.float32]
    reason: str | None


@dataclass(frozen=True)
class _Loaded:
    items: list[Item]
    spots: dict[str, _Spot]
    genes: tuple[str, ...]
    title: str
    group: str
    """`section`, or the column of `obs` that names the groups."""
    labels: list[str]
    """Cells of the label column, of all sections."""


class Spatial(Source):
    """Sections with counts per spot and an H&E image.

    A section is NAME.h5ad with the image NAME.jpg, .png or .tif, a folder NAME written by Space
    Ranger (`data.space_ranger`), or NAME.zarr of SpatialData (`data.spatial_zarr`).

    Positions: `obsm["spatial"]` is x, y of each spot, in pixels of the image or of the full
    resolution image. In the second case, `image=hires` or `image=lowres` says which downscaled
    version the image is, and `uns["spatial"]` gives the scale factor. By default, this is detected
    from the size of the image.

    Arrays: `he` is the patch of `patch` x `patch` px around the spot. `expression` is
    log(1 + n) of its counts of `genes` genes, after each spot is scaled to 10,000 counts over all
    genes of its file. The genes are those with the highest variance over the training sections,
    among the genes that all sections list; counts of test sections are not used. `genes` may also
    be a store, whose genes are used, or a text file with one name per line. Then all sections may
    be in test. Counts are read from X, from `layers[layer]`, or from `raw` if X holds no counts.

    Sections are listed as NAME+NAME: `test` names those in test, `train` those in train (default:
    all others), and `sections` restricts the source to some sections. `label` is the column of
    `obs` with the classes, which must mean the same in all sections. Spots with an empty cell have
    no label; with `label=none`, no spot has one. `group` is `section` or a column of `obs`.
    Default: `patient` if all sections have that column, so that sections of one patient are one
    group, else `section`.

    Spots are rejected if they have no counts, if `in_tissue` is 0, or if the patch extends beyond
    the image.
    """

    def __init__(
        self,
        path: str,
        test: str,
        sections: str | None = None,
        train: str | None = None,
        label: str | None = "cluster",
        patch: int = 256,
        genes: int | str = 1000,
        group: str | None = None,
        um_per_px: float | None = None,
        layer: str | None = None,
        image: Literal["fullres", "hires", "lowres"] | None = None,
    ) -> None:
        no_genes = isinstance(genes, int) and genes < 1
        if patch < 8 or no_genes or (um_per_px is not None and not 0 < um_per_px < np.inf):
            raise ConfigError(
                f"spatial cannot use patch={patch}, genes={genes}, um_per_px={um_per_px}; use at "
                "least 8 px, at least one gene, and a positive um_per_px or none."
            )
        self.path = Path(path).expanduser()
        self.test, self.train, self.sections = _names(test), _names(train), _names(sections)
        if not self.test or self.test & self.train:
            raise ConfigError(
                f"spatial has test={test}, train={train}; name at least one section in test, and "
                "no section in both."
            )
        self.label, self.group, self.layer, self.image = label, group, layer, image
        self.patch, self.genes, self.um_per_px = patch, genes, um_per_px
        self._gene_list = None if isinstance(genes, int) else Path(genes).expanduser()
        self._images = LruCache[npt.NDArray[np.uint8]](CACHED_IMAGES)

    def datasheet(self) -> Datasheet:
        loaded = self._loaded
        return Datasheet(
            title=loaded.title, um_per_px=self.um_per_px, channels={"expression": loaded.genes}
        )

    def files(self) -> Sequence[Path]:
        if self._gene_list is None:
            return super().files()
        stored = self._gene_list / "meta.json"
        return [*super().files(), stored if stored.is_file() else self._gene_list]

    def items(self) -> Sequence[Item]:
        return self._loaded.items

    def remarks(self) -> Sequence[str]:
        group = self._loaded.group
        remark = (
            f"Groups are read from the obs column {group}: sections of one {group} are one group."
        )
        if group == "section":
            remark = (
                "Groups are sections. If several sections are from one patient, name the obs "
                "column of patients: group=COLUMN."
            )
        return [remark, *missing_value_remark(self.label or "", self._loaded.labels)]

    def read(self, item: Item) -> dict[str, npt.NDArray[Any]]:
        spot = self._loaded.spots[item.id]
        if spot.reason is not None:
            raise UnreadablePatch(spot.reason)
        image = self._images.get(spot.image, lambda: read_section_image(spot.image))
        rows = slice(spot.top, spot.top + self.patch)
        columns = slice(spot.left, spot.left + self.patch)
        return {"he": image[rows, columns].copy(), "expression": spot.expression}

    def shape(self, item: Item) -> tuple[int, int]:
        reason = self._loaded.spots[item.id].reason
        if reason is not None:
            raise UnreadablePatch(reason)
        return self.patch, self.patch

    @cached_property
    def _loaded(self) -> _Loaded:
        """Loaded by `items`, before threads call `read`."""
        files = self._files()
        splits: dict[str, Split] = {n: "test" if n in self.test else "train" for n in files}
        reading = Bar(files.items(), desc="counts", unit="section")  # some seconds each
        counts = {name: self._counts(*paths) for name, paths in reading}
        all_have_patients = all("patient" in section.table for section in counts.values())
        group = self.group or ("patient" if all_have_patients else "section")
        section_genes = {name: section.genes for name, section in counts.items()}
        if isinstance(self.genes, int):
            common = common_genes(section_genes, self.genes)
        else:
            assert self._gene_list
            common = list(read_gene_list(self._gene_list))
            check_gene_list(section_genes, common, self._gene_list)
        values = {
            name: log_normalise(section.values)[:, _indices(section.genes, common)]
            for name, section in counts.items()
        }
        selected, of_genes = tuple(common), f"{len(common):,} genes of {self.genes}"
        if isinstance(self.genes, int):
            training = [
                values[name][has_counts(section.values) & section.in_tissue]
                for name, section in counts.items()
                if splits[name] == "train"
            ]
            selected = most_variable(training, common, self.genes)
            of_genes = f"{self.genes:,} of {len(common):,} common genes"
        items: list[Item] = []
        cells: list[str] = []
        spots: dict[str, _Spot] = {}
        for name, (_, image) in files.items():
            dense = values[name][:, _indices(common, selected)].toarray().astype(np.float32)
            labels = self._labels(counts[name])
            listed = self._items(name, counts[name], labels, splits[name], group)
            items += listed
            cells += labels
            spots |= self._spots(listed, counts[name], image, dense)
        if self.label and not any(cells):
            raise DataError(
                f"{self.path} has no {self.label} for any spot; name another column with label=, "
                "or use label=none."
            )
        sides = [", ".join(n for n in files if splits[n] == side) for side in ("train", "test")]
        title = (
            f"Spatial transcriptomics: {self.path.resolve().name} ({' | '.join(sides)}), "
            f"{of_genes}, {self.patch} px"
        )
        given = [word for word in (self.layer, self.image) if word]
        return _Loaded(items, spots, selected, ", ".join([title, *given]), group, cells)

    def _files(self) -> dict[str, tuple[Path, Path]]:
        """Name -> table and image, of each section that is used."""
        sections = find_sections(self.path)
        with_image = {name for name, (_, image) in sections.items() if image}
        used = self.sections or (self.train | self.test if self.train else with_image | self.test)
        for name in sorted(used | self.test | self.train):
            if name not in sections:
                raise ConfigError(
                    f"{self.path} has no section '{name}'; it has {', '.join(sorted(with_image))}."
                )
            if name not in with_image:
                table, _ = sections[name]
                lacking = f"image {name}.jpg" if table.is_file() else "RGB image in it"
                raise DataError(f"{self.path} has {table.name} but no {lacking}; add the image.")
            if name not in used:
                raise ConfigError(
                    f"Section {name} is in test= or train= but not in sections=; add it there."
                )
        used &= (self.train or used) | self.test
        if used <= self.test and self._gene_list is None:
            raise ConfigError(f"All sections of {self.path} are in test; leave some for training.")
        return {n: (table, image) for n, (table, image) in sections.items() if n in used and image}

    def _counts(self, path: Path, image: Path) -> Counts:
        if path.is_file():
            return read_counts(path, self.layer)
        if is_spatialdata(path):
            return read_spatialdata(path, image, self.layer)
        if self.layer is not None:
            raise ConfigError(f"{path} is from Space Ranger and has no layers; remove layer=.")
        return read_space_ranger(path)

    def _labels(self, counts: Counts) -> list[str]:
        if self.label is None:
            return [""] * len(counts.spots)
        return read_column(counts.table, counts.file, self.label, "label")

    def _items(
        self, name: str, counts: Counts, labels: list[str], split: Split, group: str
    ) -> list[Item]:
        if group == "section":
            groups = [name] * len(labels)
        else:
            groups = read_column(counts.table, counts.file, group, "group")
        if "" in groups:
            raise DataError(
                f"{counts.file} has no {group} for spot {counts.spots[groups.index('')]}; "
                "fill that obs column, or name another one with group=."
            )
        return [
            Item(f"{name}/{spot}", label or UNLABELLED, f"{counts.file}, spot {spot}", split, group)
            for spot, label, group in zip(counts.spots, labels, groups, strict=True)
        ]

    def _spots(
        self, items: list[Item], counts: Counts, image: Path, dense: npt.NDArray[np.float32]
    ) -> dict[str, _Spot]:
        """Item id -> spot. Raises `DataError` if no patch lies within the image."""
        factor = scale_factor(counts, image, self.image)
        corners, outside = patch_corners(counts, self.patch, image, factor)
        has_any = has_counts(counts.values)
        spots = {}
        for row, item in enumerate(items):
            x, y = counts.coordinates[row] * factor
            reason = None
            if not counts.in_tissue[row]:
                reason = "outside the tissue: in_tissue is 0"
            elif outside[row]:
                reason = f"outside the image: the patch at x {x:.0f}, y {y:.0f} extends beyond it"
            elif not has_any[row]:
                reason = "no counts: all gene counts of this spot are zero"
            left, top = (0, 0) if outside[row] else map(int, corners[row])
            spots[item.id] = _Spot(image, left, top, dense[row], reason)
        return spots


def _names(text: str | None) -> frozenset[str]:
    return frozenset(name.strip() for name in (text or "").split("+") if name.strip())


def _indices(genes: Sequence[str], names: Sequence[str]) -> list[int]:
    index_of = {gene: index for index, gene in enumerate(genes)}
    return [index_of[gene] for gene in names]
