"""`meta.json` of a store: read once, here, into types."""

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from morefromless.data.schemes import Scheme
from morefromless.documents import parse_json
from morefromless.errors import ConfigError, DataError

FORMAT = 2

Count = Annotated[int, msgspec.Meta(ge=0)]
Scale = Annotated[float, msgspec.Meta(gt=0)]
"""Micrometres per pixel."""
SplitName = Annotated[str, msgspec.Meta(pattern=r"^(train|val|test)\Z")]
SplitRule = Literal["source", "group", "label", "test"]
"""The source's own split, whole groups drawn, patches drawn by label, or every patch in test."""
ArrayName = Annotated[str, msgspec.Meta(pattern=r"^\w[\w-]*\Z")]
FileName = Annotated[str, msgspec.Meta(pattern=r"^\w[\w-]*\.(npy|parquet)\Z")]


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every key is there and of its type, and there are no others."""


class FileFacts(_Part, frozen=True, kw_only=True):
    """What a file's bytes are compared with."""

    bytes: Count
    blake2b: str | None
    """None of an array whose patches are compared with their hashes (`data.patch_hashes`)."""


class ArrayShape(_Part, frozen=True, kw_only=True):
    shape: tuple[Count, ...]
    dtype: Literal["uint8", "uint16", "float32"]
    um_per_px: Scale | None = None
    """Of an array that shows another field than the others, such as a wider one."""
    channels: tuple[str, ...] = ()
    """Names of the channels, or of a vector's values, where the source knows them."""
    ranges: tuple[tuple[float, float], ...] = ()
    """Of each channel that is no RGB, percentiles of the training patches."""


class SchemeTypes(_Part, frozen=True, kw_only=True):
    """Types of nuclei by their codes."""

    name: str
    types: tuple[str, ...]


class StoredDatasheet(_Part, frozen=True, kw_only=True):
    """What a result must be able to say about its data (`sources.Datasheet`)."""

    title: str
    licence: str
    citation: str
    um_per_px: Scale | None
    classes: dict[str, str]
    scheme: SchemeTypes | None
    segmentation: str


class StoreMeta(_Part, frozen=True, kw_only=True):
    """What `meta.json` holds."""

    format: Literal[2]
    morefromless: str
    """Version that wrote the store."""
    hash: str
    """Of ids, labels, splits, groups and pixels."""
    datasheet: StoredDatasheet
    classes: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    """In the order of a store's `labels`."""
    arrays: Annotated[dict[ArrayName, ArrayShape], msgspec.Meta(min_length=1)]
    scheme: SchemeTypes | None
    """Types of the nuclei; None where none are known."""
    um_per_px: Scale | None
    """None where it is not known, or not the same for all patches."""
    split_rule: SplitRule
    groups_known: bool
    splits: dict[SplitName, Count]
    """Patches by split."""
    rejected: dict[str, Count]
    """Rejected patches by kind of reason."""
    absent: dict[ArrayName, dict[SplitName, Count]]
    """Patches that lack an array, by array and split; arrays that none lacks are left out."""
    omitted: dict[str, Count]
    """What the source left out of its patches, by kind."""
    caveats: tuple[str, ...]
    """Sentences that must stand wherever a result from these patches stands."""
    provenance: dict[str, Any]
    """Source and options that determine the store."""
    files: dict[FileName, FileFacts]


def read_meta(path: Path) -> StoreMeta:
    """`meta.json` of the store at `path`. Raises `DataError` where it is missing or not sound."""
    if not path.exists():
        unfinished = path.with_name(path.name + ".partial").exists()
        hint = "its ingest was not finished: run it again" if unfinished else "make it"
        raise DataError(f"There is no store at {path}; {hint} with mfl ingest SOURCE {path}.")
    file = path / "meta.json"
    if not file.is_file():
        raise DataError(
            f"{path} is not a store (it has no sound meta.json); make one of it with "
            f"mfl ingest {path} STORE, and give that."
        )
    try:
        return parse_meta(file.read_bytes())
    except _OtherFormat as error:
        raise DataError(f"{path} has store format {error}; ingest again.") from error
    except PermissionError:
        raise  # a store that is not ours to read is sound, and nobody is to remove it
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} has no sound meta.json ({repr(str(error))[1:-1][:200]}); remove that folder "
            "and ingest again."
        ) from error


def parse_meta(content: bytes) -> StoreMeta:
    """The bytes of a `meta.json`. Raises `ValueError`, which says what is wrong where.

    >>> parse_meta(b'{"format": 2, "format": 2}')
    Traceback (most recent call last):
    morefromless.documents.RepeatedKey: it has 'format' twice
    """
    document = parse_json(content, dict[str, Any])
    version = document.get("format")
    if isinstance(version, int) and version != FORMAT:
        raise _OtherFormat(f"{str(version)[:20]}, and this version reads {FORMAT}")
    if "format" not in document:
        raise ValueError("it has no format")
    meta = msgspec.convert(document, type=StoreMeta)
    if len(set(meta.classes)) < len(meta.classes):
        raise ValueError("it has a class twice")
    if not any(len(array.shape) == 4 for array in meta.arrays.values()):
        raise ValueError("it has no array of images")
    if not meta.absent.keys() <= meta.arrays.keys():
        raise ValueError("an array in absent is not in arrays")
    try:
        if meta.scheme is not None:
            Scheme(meta.scheme.name, meta.scheme.types)
    except ConfigError as error:
        raise ValueError(str(error).removesuffix(".")) from error
    return meta


class _OtherFormat(ValueError):
    pass
