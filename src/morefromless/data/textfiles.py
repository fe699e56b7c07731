"""JSON from elsewhere, read as data and refused in a sentence."""

import json
from pathlib import Path
from typing import Any

from morefromless.errors import UnreadablePatch


def head(path: Path, count: int = 4096) -> str:
    """The first characters of a file; empty where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(count).decode("utf-8-sig", "replace")
    except OSError:
        return ""


def read_json(path: Path) -> Any:
    """What a JSON file holds. Raises `UnreadablePatch` where it is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except RecursionError as error:
        raise UnreadablePatch(f"unreadable: {path.name} is nested too deeply") from error
    except OSError as error:
        raise UnreadablePatch(f"unreadable: {path.name} ({error.strerror})") from error
    except ValueError as error:
        raise UnreadablePatch(f"unreadable: {path.name} is not sound JSON") from error
