"""Open a source from the name or path that a user gives."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from morefromless import sources
from morefromless.catalogue import names, public_set
from morefromless.data.archives import is_archive
from morefromless.data.schemes import load_scheme
from morefromless.data.slide_files import SLIDE_ONLY_SUFFIXES
from morefromless.data.trees import open_tree
from morefromless.errors import ConfigError, DataError, near_names
from morefromless.ingest.catalogued import Catalogued
from morefromless.ingest.cutting import Cut
from morefromless.ingest.labelling import Relabelled
from morefromless.ingest.segmented import WithNuclei
from morefromless.sources import Source
from morefromless.sources.folder import Folder
from morefromless.sources.manifest import TABLES, Manifest
from morefromless.sources.medmnist import Medmnist
from morefromless.sources.nct_crc import NctCrc
from morefromless.specs import build, members


def open_source(
    spec: str,
    *,
    label: str | None = None,
    group: str | None = None,
    classes: Sequence[str] = (),
    drop: Sequence[str] = (),
    unlabelled: bool = False,
    nuclei: Path | None = None,
    nuclei_format: str = "auto",
    scheme: str = "pannuke",
    cut: int | None = None,
) -> Source:
    """The source that `spec` names: `synthetic:...`, `folder:PATH`, or just a path.

    A path to an npz file is read as MedMNIST, and a path to a .csv or .parquet file as a table of
    pairs (`manifest`). A folder or archive is read as NCT-CRC-HE if all its files are named like
    `TUM-AAAFLCLY.tif`, else as `folder`. `label` and `group` are regular expressions that find the
    label and group of a patch in its path. `classes` and `drop` change classes
    (`labelling.Relabelled`). `unlabelled` means that the paths of a folder do not name tissue
    classes. `nuclei` is a folder of segmentations with the types of `scheme`. `cut` is the side in
    px of the patches that tiles are cut into. Raises `DataError` if the path does not exist, and
    `ConfigError` for an unknown name.

    >>> len(open_source("synthetic:patches=90,size=64", cut=32).items())
    360
    """
    source = _images(spec, unlabelled, ignore_folders=label is not None)
    if label is not None or group is not None or classes or drop:
        source = Relabelled(source, label, group, classes, drop)
    if nuclei is not None:
        source = WithNuclei(source, nuclei, load_scheme(scheme), nuclei_format)
    return source if cut is None else Cut(source, cut)


def open_images(spec: str) -> Source:
    """The images that `spec` names. Unlike `open_source`, a folder needs no classes."""
    path = Path(spec).expanduser()
    files = path.is_dir() or is_archive(path)
    return _files(spec, "none") if files else _images(spec, unlabelled=False)


def _images(spec: str, unlabelled: bool, ignore_folders: bool = False) -> Source:
    """`ignore_folders` means that the labels of a folder are not read from its folders."""
    name = spec.partition(":")[0]
    path = Path(spec).expanduser()
    files = path.is_dir() or is_archive(path)
    if unlabelled and not files:
        raise ConfigError(
            f"--unlabelled is for a folder or archive of images, and '{spec}' is not one; remove "
            "--unlabelled."
        )
    if unlabelled or (ignore_folders and files):
        return Folder(spec, "none")
    if name in members(sources, Source):
        return build(spec, sources, Source)
    if name in names() and ":" in spec:
        return _open_catalogued(name, Path(spec.partition(":")[2]).expanduser())
    if files:
        return _files(spec, "named")
    if path.is_file():
        if path.suffix.lower() == ".npz":
            return Medmnist(spec)
        if path.suffix.lower() in TABLES:
            return Manifest(spec)
        if path.suffix.lower() in SLIDE_ONLY_SUFFIXES or path.name.lower().endswith(
            (".ome.tif", ".ome.tiff")
        ):
            raise DataError(
                f"{path} is a whole slide; cut it into tiles with mfl tile {path} STORE --mpp 0.5."
            )
        raise DataError(
            f"{path} is not a supported file; use a folder or an archive (.zip, .tar, .tar.gz) of "
            f"patches, an npz file, or a table of pairs ({', '.join(TABLES)})."
        )
    if ":" in spec and "/" not in name:
        return build(spec, sources, Source)
    if path.exists():
        raise DataError(f"{path} is a pipe or a device; use a folder or a file.")
    raise DataError(f"There is no file or folder {path}; {_hint(path)}")


def _files(spec: str, classes: Literal["named", "none"]) -> Source:
    """`NctCrc` if all files of a folder or an archive are named like its files, else `Folder`."""
    path = Path(spec).expanduser()
    if all((path / name).is_file() for name in ("meta.json", "patches.parquet")):
        raise DataError(f"{path} is already a store; use the source that it was made from.")
    tree = open_tree(path)
    source = NctCrc(spec) if NctCrc.recognises(tree.names) else Folder(spec, classes)
    source.tree = tree  # reuse the listing, which takes minutes for a large archive
    return source


def _open_catalogued(name: str, folder: Path) -> Source:
    """A public data set in a folder written by `mfl fetch`."""
    sheet = public_set(name)
    path = folder / sheet.ingest
    if not path.exists():
        raise DataError(f"There is no {path}; download it with mfl fetch {name} {folder}.")
    return Catalogued(_images(str(path), False), sheet)


def _hint(path: Path) -> str:
    siblings = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
    near = near_names(path.name, siblings)
    known = members(sources, Source)
    named = near_names(str(path), known)
    if near or named:
        return f"did you mean {path.with_name(near[0]) if near else named[0]}?"
    return f"check the path, or name a source ({', '.join(known)})."
