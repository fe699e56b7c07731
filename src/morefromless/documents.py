"""Documents of other people: whatever is wrong in one is a `ValueError` of one line."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import yaml

from morefromless.files import read_bytes

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")


def read_json(path: Path, kind: type[T]) -> T:
    """JSON of a type (msgspec). Raises `OSError`, and `ValueError` for all that is wrong in it."""
    content = read_bytes(path)
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(_line(error)) from error


def parse_yaml(content: bytes) -> Any:
    """YAML, by the safe loader. Raises `ValueError` with what is wrong.

    >>> parse_yaml(b"{lr: 0.1}")
    {'lr': 0.1}
    """
    try:
        return yaml.safe_load(content)
    except Exception as error:  # PyYAML raises whatever a value provokes, KeyError for `!!bool x`
        raise ValueError(f"no sound YAML: {_line(error)}") from error


def read_parquet(path: Path) -> "pd.DataFrame":
    """A table in Parquet. Raises `OSError`, and `ValueError` for all that is wrong in it."""
    import pandas as pd

    try:
        return pd.read_parquet(path)
    except OSError:
        raise
    except Exception as error:  # PyArrow has errors of its own
        raise ValueError(_line(error)) from error


def _line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return "".join(c if c.isprintable() else "?" for c in text)
