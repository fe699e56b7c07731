"""Words and numbers as a reader should meet them."""

import re
from collections.abc import Iterable

from morefromless.evaluation.intervals import Interval

SPARSE = re.compile(r"\bdownsample:(\d+)(?:,interpolation=\w+)?")


def typeset(text: str) -> str:
    """`7 x 7 px` with a multiplication sign, `a - b` with a minus."""
    return re.sub(r"(?<=\d) x (?=\d)", " × ", text).replace(" - ", " − ")


def seen(modality: str) -> str:
    """A modality, or `task: modality`, as the tables call it."""
    task, _, spec = modality.rpartition(": ")
    if spec == "full":
        spec = "whole patch"
    elif spec.partition(":")[0] == "nuclei":
        spec = "masks"
    spec = SPARSE.sub(r"\1 × \1 px", spec)
    return f"{task}: {spec}" if task else spec


def per_cent(value: float) -> str:
    return f"{100 * value:.1f}"


def published(value: float) -> str:
    """In per cent with all the digits that the paper has."""
    return f"{100 * value:.2f}"


def bounds(found: Interval, signed: bool = False) -> str:
    """`[80.0, 86.7]`, in per cent or points."""
    sign = "+" if signed else ""
    return minus(f"[{100 * found.low:{sign}.1f}, {100 * found.high:{sign}.1f}]")


def points(value: float) -> str:
    """A difference of two accuracies: `+3.4`, and `0.0` without a sign."""
    return minus(f"{100 * value:+.1f}").replace("+0.0", "0.0").replace("−0.0", "0.0")


def minus(number: str) -> str:
    return number.replace("-", "−")


def listed(words: Iterable[str]) -> str:
    """`a, b and c`; nothing of nothing."""
    *most, last = [*words] or [""]
    return f"{', '.join(most)} and {last}" if most else last


def counted(number: int, noun: str) -> str:
    """`1 run`, `1,250 runs`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def duration(seconds: float) -> str:
    """`45 seconds`, `2.3 minutes`, `12.5 hours`."""
    if seconds < 60:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.1f} minutes" if seconds < 3600 else f"{seconds / 3600:,.1f} hours"
