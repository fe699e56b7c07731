"""The catalogue: public data sets by name. To add one, add a datasheet (a YAML file) here.

A datasheet has a checksum only if two independent public sources agree on it; otherwise the
datasheet says that there is none. Nothing is downloaded unless a user requests it (`mfl fetch`).
"""

from pathlib import Path
from typing import Annotated

import msgspec
import yaml

from morefromless.errors import ConfigError, near_names

FOLDER = Path(__file__).parent


class PublicFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One published file of a data set."""

    name: Annotated[str, msgspec.Meta(pattern=r"^\w[\w.-]*\Z")]
    url: Annotated[str, msgspec.Meta(pattern=r"^https?://")]
    bytes: int | None = None
    md5: str | None = None


class PublicSet(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The datasheet of a public data set."""

    title: str
    description: str
    authors: str
    licence: str
    commercial: bool
    """Whether the licence allows commercial use."""
    citation: str
    um_per_px: float | None = None
    pitfalls: tuple[str, ...] = ()
    """Properties that make results on the data set wrong or too good."""
    files: tuple[PublicFile, ...] = ()
    """Empty if the data set cannot be downloaded automatically; then see `instructions`."""
    instructions: str = ""
    ingest: str
    """The path that `mfl ingest` reads, relative to the folder of `mfl fetch`."""
    counts: dict[str, int] = {}
    """Class -> number of patches."""


def names() -> list[str]:
    """Names of all datasheets, in alphabetical order."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def public_set(name: str) -> PublicSet:
    """Load the datasheet of a data set. Raises `ConfigError` with similar names if there is none.

    >>> public_set("crc-val-he-7k").counts["TUM"]
    1233
    """
    known = names()
    if name not in known:
        near = near_names(name, known, cutoff=0.4)
        hint = f"did you mean {near[0]}?" if near else f"known names: {', '.join(known)}."
        raise ConfigError(f"There is no public data set named '{name}'; {hint}")
    text = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
    return msgspec.convert(yaml.safe_load(text), PublicSet)
