"""`meta.json` of a store, parsed into typed structures."""

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
"""The source's own split, a random split by group, one by label, or all patches in test."""
ArrayName = Annotated[str, msgspec.Meta(pattern=r"^\w[\w-]*\Z")]
FileName = Annotated[str, msgspec.Meta(pattern=r"^\w[\w-]*\.(npy|parquet)\Z")]


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All keys are present and of their types, and there are no others."""


class FileFacts(_Part, frozen=True, kw_only=True):
    """Recorded size and hash of a file."""

    bytes: Count
    blake2b: str | None
    """None for an array that is verified by the hashes of its patches (`data.patch_hashes`)."""


class ArrayShape(_Part, frozen=True, kw_only=True):
    shape: tuple[Count, ...]
    dtype: Literal["uint8", "uint16", "float32"]
    um_per_px: Scale | None = None
    """For an array whose field of view differs from the others, such as a wider field."""
    channels: tuple[str, ...] = ()
    """Names of the channels, or of the values of a vector, if the source knows them."""
    ranges: tuple[tuple[float, float], ...] = ()
    """Percentiles of the training patches for each channel, if the array is not RGB."""


class SchemeTypes(_Part, frozen=True, kw_only=True):
    """Types of nuclei by their codes."""

    name: str
    types: tuple[str, ...]


class StoredDatasheet(_Part, frozen=True, kw_only=True):
    """Information about the data that results must report (`sources.Datasheet`)."""

    title: str
    licence: str
    citation: str
    um_per_px: Scale | None
    classes: dict[str, str]
    scheme: SchemeTypes | None
    segmentation: str


class StoreMeta(_Part, frozen=True, kw_only=True):
    """Content of `meta.json`."""

    format: Literal[2]
    morefromless: str
    """Version of morefromless that wrote the store."""
    hash: str
    """Hash of ids, labels, splits, groups and pixels."""
    datasheet: StoredDatasheet
    classes: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    """Class names in the order of a store's `labels`."""
    arrays: Annotated[dict[ArrayName, ArrayShape], msgspec.Meta(min_length=1)]
    scheme: SchemeTypes | None
    """Types of the nuclei; None if there are no nuclei."""
    um_per_px: Scale | None
    """None if unknown, or not the same for all patches."""
    split_rule: SplitRule
    groups_known: bool
    splits: dict[SplitName, Count]
    """Number of patches by split."""
    rejected: dict[str, Count]
    """Number of rejected patches by kind of reason."""
    absent: dict[ArrayName, dict[SplitName, Count]]
    """Number of patches without an array, by array and split; complete arrays are not listed."""
    omitted: dict[str, Count]
    """Number of items that the source skipped, by kind."""
    caveats: tuple[str, ...]
    """Sentences that must accompany every result from these patches."""
    provenance: dict[str, Any]
    """Source and options that determine the store."""
    files: dict[FileName, FileFacts]


def read_meta(path: Path) -> StoreMeta:
    """Read `meta.json` of the store at `path`. Raises `DataError` if it is missing or invalid."""
    if not path.exists():
        unfinished = path.with_name(path.name + ".partial").exists()
        hint = "its ingest was not finished: run it again" if unfinished else "create it"
        raise DataError(f"There is no store at {path}; {hint} with mfl ingest SOURCE {path}.")
    file = path / "meta.json"
    if not file.is_file():
        raise DataError(
            f"{path} is not a store (it has no meta.json file); create a store from it with "
            f"mfl ingest {path} STORE, and give STORE."
        )
    try:
        return parse_meta(file.read_bytes())
    except _OtherFormat as error:
        raise DataError(f"{path} has store format {error}; ingest again.") from error
    except PermissionError:
        raise  # the store may be intact, so the message must not say to remove it
    except (OSError, ValueError) as error:
        raise DataError(
            f"meta.json of {path} is invalid ({repr(str(error))[1:-1][:200]}); remove that folder "
            "and ingest again."
        ) from error


def parse_meta(content: bytes) -> StoreMeta:
    """Parse the bytes of a `meta.json`. Raises `ValueError` with what is wrong and where.

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
