"""Normalise the names of classes and groups, and reject names that look the same."""

import math
import re
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache

import numpy as np

from morefromless.errors import ConfigError, DataError, near_names, quoted

UNLABELLED = "unlabelled"
"""Label of patches whose tissue class is unknown. Encoders train on them, and the nuclei in them
can still define a task."""

NCT_CRC = {
    "ADI": "adipose tissue",
    "BACK": "background",
    "DEB": "debris",
    "LYM": "lymphocytes",
    "MUC": "mucus",
    "MUS": "smooth muscle",
    "NORM": "normal colon mucosa",
    "STR": "cancer-associated stroma",
    "TUM": "colorectal adenocarcinoma epithelium",
}
"""Classes of NCT-CRC-HE, of PathMNIST (derived from it), and of the synthetic tissue."""

MAX_EXACT = 2.0**53
"""From this value on, a float may not represent an integer exactly."""

MISSING_VALUES = frozenset({"NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan"})
"""How R, pandas and Excel write a missing value. "None" and "null" are not included because they
may be values: a grade can be None."""


class MissingValue(str):
    """A cell that holds one of `MISSING_VALUES`; as text it is empty."""


class NotText(str):
    """A table cell that is neither text nor a number, such as a list; its text names the kind."""


def cell_text(cell: object) -> str:
    """A table cell as text: 1.0 becomes "1", an empty cell (None, NaN, NaT) becomes "".

    `MISSING_VALUES` texts become `MissingValue`. Lists, bytes, and floats too large to be exact
    integers become `NotText`.

    >>> cell_text(2.0), cell_text(" a "), cell_text(None), cell_text(float("nan"))
    ('2', 'a', '', '')
    >>> cell_text("NA"), isinstance(cell_text("NA"), MissingValue)
    ('', True)
    >>> cell_text([1]), isinstance(cell_text([1]), NotText)
    ('a list', True)
    """
    if isinstance(cell, str):
        return MissingValue() if cell.strip() in MISSING_VALUES else cell.strip()
    if cell is None or type(cell).__name__ in ("NAType", "NaTType"):
        return ""
    if isinstance(cell, float | np.floating):
        number = float(cell)
        if math.isnan(number):
            return ""
        if abs(number) >= MAX_EXACT:
            return NotText(f"{number:g}, a number too large to be exact,")
        return f"{number:.0f}" if number.is_integer() else str(cell)
    if isinstance(cell, bytes | bytearray | Iterable):
        return NotText(f"a {type(cell).__name__}")
    return str(cell).strip()


def missing_value_remark(column: str, cells: Collection[str]) -> list[str]:
    """The remark on a column with `MissingValue` cells; an empty list if it has none.

    >>> missing_value_remark("grade", [cell_text("NA"), "3"])
    ['Column grade holds NA, N/A or NaN in 1 of 2 rows, which is read as an empty cell.']
    """
    count = sum(isinstance(cell, MissingValue) for cell in cells)
    if not count:
        return []
    return [
        f"Column {column} holds NA, N/A or NaN in {count:,} of {len(cells):,} rows, which is read "
        "as an empty cell."
    ]


def drop_zero_fraction(text: str) -> str:
    """Text of a table cell; an integer written as 1.0 becomes 1.

    >>> drop_zero_fraction("1.0"), drop_zero_fraction("1.5"), drop_zero_fraction("v1.0")
    ('1', '1.5', 'v1.0')
    """
    return text.partition(".")[0] if re.fullmatch(r"-?[0-9]+\.0+", text) else text


def tissue_classes(labels: Iterable[str]) -> tuple[str, ...]:
    """The classes among labels, in order; UNLABELLED is excluded unless it is the only one.

    >>> tissue_classes(["b", "unlabelled", "a", "b"]), tissue_classes(["unlabelled"])
    (('b', 'a'), ('unlabelled',))
    """
    names = tuple(dict.fromkeys(labels))
    return tuple(name for name in names if name != UNLABELLED) or names


@lru_cache(maxsize=4096)
def normal_name(name: str) -> str:
    """Normalise a class or group name: NFC, no zero-width characters, single plain spaces.

    Raises `DataError` for control characters, for no visible character, and for non-text.

    >>> normal_name(" tumour\\u200b  cells ")
    'tumour cells'
    """
    if not isinstance(name, str):
        raise DataError(f"A class or group is {name!r}, which is not text; give it a text name.")
    if name.isascii() and name.isprintable() and name == " ".join(name.split()):
        return name
    visible = "".join(c for c in name if unicodedata.category(c) != "Cf")
    plain = unicodedata.normalize("NFC", " ".join(visible.split()))
    if any(unicodedata.category(c) in ("Cc", "Cs") for c in plain):
        raise DataError(f"The class or group {name!r} has a control character; rename it.")
    if not plain:
        raise DataError(f"The class or group {name!r} has no visible character; rename it.")
    return plain


def normal_label(name: str) -> str:
    """As `normal_name`; any case and the American spelling of UNLABELLED become UNLABELLED.

    >>> normal_label("Unlabeled"), normal_label("TUM")
    ('unlabelled', 'TUM')
    """
    normal = normal_name(name)
    return UNLABELLED if normal.casefold() in (UNLABELLED, "unlabeled") else normal


def check_spellings(names: Iterable[str], kind: str = "classes") -> None:
    """Raise `DataError` if two names differ only in case, leading zeros or compatible characters.

    Spreadsheets drop leading zeros.

    >>> check_spellings(["ADI", "TUM"])
    """
    spellings: dict[str, str] = {}
    for name in sorted(set(names)):
        folded = unicodedata.normalize("NFKC", name).casefold()
        # `P01` equals `P1`, but hexadecimal `63aa09` differs from `063aa9`.
        folded = re.sub(r"(?<![^\W_])([^\W\d_]*)(?<!\.)0+(?=[0-9])", r"\1", folded)
        if spellings.setdefault(folded, name) != name:
            raise DataError(
                f"The {kind} '{spellings[folded]}' and '{name}' differ only in spelling; "
                "merge them, or rename one."
            )


def parse_classes(classes: Sequence[str]) -> dict[str, str]:
    """Map each class to its new name. Raises `ConfigError` unless written OLD[+OLD...]=NEW.

    >>> parse_classes(["MUS+STR=muscle", "TUM=tumour"])
    {'MUS': 'muscle', 'STR': 'muscle', 'TUM': 'tumour'}
    """
    renamed: dict[str, str] = {}
    for text in classes:
        names, equals, new = text.partition("=")
        old = [name.strip() for name in names.split("+")]
        if not (equals and new.strip() and all(old)):
            raise ConfigError(f"--classes {text} is invalid; write it as OLD=NEW or OLD+OLD=NEW.")
        for name in map(normal_name, old):
            if renamed.setdefault(name, normal_name(new)) != normal_name(new):
                raise ConfigError(f"--classes gives '{name}' two new names; give it one.")
    return renamed


def check_class_names(known: Collection[str], named: Iterable[str]) -> None:
    """Raise `DataError` if a class that the user named does not exist."""
    for name in named:
        if name not in known:
            near = near_names(name, known)
            hint = f"did you mean {near[0]}?" if near else f"there are {quoted(sorted(known))}."
            raise DataError(f"There is no class '{name}'; {hint}")
