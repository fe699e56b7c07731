"""The catalogue: public data sets by name. An open set: a datasheet is one YAML file here.

A checksum stands in a datasheet where two independent public sources agree on it; else it is left
out, and the datasheet says so. Nothing here is downloaded unless a person asks (`mfl fetch`).
"""

from pathlib import Path
from typing import Annotated

import msgspec
import yaml

from morefromless.errors import ConfigError, near_names

FOLDER = Path(__file__).parent


class PublicFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file of a data set, as it is published."""

    name: Annotated[str, msgspec.Meta(pattern=r"^\w[\w.-]*\Z")]
    url: Annotated[str, msgspec.Meta(pattern=r"^https?://")]
    bytes: int | None = None
    md5: str | None = None


class PublicSet(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A datasheet."""

    title: str
    description: str
    authors: str
    licence: str
    commercial: bool
    """Whether the licence allows commercial use."""
    citation: str
    um_per_px: float | None = None
    pitfalls: tuple[str, ...] = ()
    """What makes results on it wrong or too good."""
    files: tuple[PublicFile, ...] = ()
    """None where no program can download it; then `instructions` say how a person gets it."""
    instructions: str = ""
    ingest: str
    """What `mfl ingest` reads, below the folder that it was fetched to."""
    counts: dict[str, int] = {}
    """Class to number of patches."""


def names() -> list[str]:
    """The names of all datasheets, in alphabetical order."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def public_set(name: str) -> PublicSet:
    """The datasheet of a name. Raises `ConfigError`, with near names, where there is none.

    >>> public_set("crc-val-he-7k").counts["TUM"]
    1233
    """
    known = names()
    if name not in known:
        near = near_names(name, known, cutoff=0.4)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}."
        raise ConfigError(f"There is no public data set named '{name}'; {hint}")
    text = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
    return msgspec.convert(yaml.safe_load(text), PublicSet)
