"""What readers of outlines share: bytes, JSON and types from files that nobody vouches for."""

import json
from pathlib import Path
from typing import Any

from morefromless.data.schemes import RawType
from morefromless.errors import UnreadablePatch

LARGEST = 2**28
"""Bytes that one image's file may have, packed or unpacked: a thousand times what a tile takes."""


def head(path: Path, count: int = 2**14) -> str:
    """The first `count` bytes as text; empty where the file cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(count).decode("utf-8-sig", "replace")
    except OSError:
        return ""


def read_bytes(path: Path) -> bytes:
    """A file's bytes. Raises `UnreadablePatch` where it is not there, empty or too large."""
    try:
        with path.open("rb") as file:
            held = file.read(LARGEST + 1)
    except FileNotFoundError as error:
        raise UnreadablePatch(f"no segmentation: there is no {path.name}") from error
    except OSError as error:
        raise UnreadablePatch(
            f"unreadable: {path.name} cannot be opened ({error.strerror}); check its permissions"
        ) from error
    if not held:
        raise UnreadablePatch(f"empty file: {path.name} has 0 bytes; fetch it again")
    if len(held) > LARGEST:
        raise too_large(path)
    return held


def too_large(path: Path) -> UnreadablePatch:
    return UnreadablePatch(
        f"too large: {path.name} holds more than {LARGEST >> 20} MiB; export each image by itself"
    )


def read_json(path: Path) -> Any:
    """What a JSON file holds. Raises `UnreadablePatch` where it is none.

    A key that an object has twice is refused, for one of the two would be lost.
    """
    try:
        return json.loads(read_bytes(path).decode("utf-8-sig"), object_pairs_hook=_once)
    except RecursionError as error:
        raise UnreadablePatch(
            f"unreadable: {path.name} is nested too deeply; it holds no nuclei"
        ) from error
    except ValueError as error:  # also for bytes that are no UTF-8
        raise UnreadablePatch(
            f"unreadable: {path.name} is not sound JSON; export it again"
        ) from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise UnreadablePatch(f"repeated key: '{plain(twice)}' comes twice; give each its own name")
    return made


def parse_type(value: Any, number: int) -> RawType | None:
    """The type of nucleus `number` as a file gives it: a name, a whole number, or None for none.

    Raises `UnreadablePatch` for anything else.
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if value is None or (isinstance(value, str) and not value):
        return None
    if isinstance(value, str) and value.isprintable() and len(value) <= 100:
        return value
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**31:
        return value
    raise UnreadablePatch(
        f"odd type: nucleus {number} has '{plain(value)}' for a type; write a number or a name"
    )


def plain(value: Any) -> str:
    """What a file holds, fit for a sentence: on one line, and not long."""
    if isinstance(value, str):
        return "".join(letter if letter.isprintable() else "?" for letter in value[:60])
    if isinstance(value, float) or (isinstance(value, int) and abs(value) < 2**63):
        return str(value)
    return f"a {type(value).__name__}"
