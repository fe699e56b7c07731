"""Format names and numbers for tables, figures and messages."""

import math
import re
from collections.abc import Iterable

from morefromless.evaluation.intervals import Interval

DOWNSAMPLE_SIDE = re.compile(r"\bdownsample:(\d+)")
NUCLEUS_TYPES = re.compile(r"(types=)?\d+")

METRIC_TITLES = {
    "balanced_accuracy": "balanced",
    "macro_f1": "macro-F1",
    "ece": "ECE",
    "brier": "Brier",
    "cohen_kappa": "kappa",
    "auroc": "AUROC",
    "auprc": "AUPRC",
}
"""Short titles; other metrics keep their names."""


NON_SHARE_METRICS = ("ece", "brier", "cohen_kappa", "auroc", "auprc")
"""Metrics that are not shares of patches."""


def metric_title(name: str) -> str:
    """The title of a metric in a table header.

    >>> metric_title("macro_f1"), metric_title("top_3")
    ('macro-F1', 'top 3')
    """
    return METRIC_TITLES.get(name, name.replace("_", " "))


def metric_value(name: str, value: float) -> str:
    """Format a metric: shares of patches in per cent, areas, kappa and calibration measures
    unchanged, and a dash if the metric is undefined (NaN).

    >>> metric_value("macro_f1", 0.7712), metric_value("ece", 0.0312), metric_value("x", math.nan)
    ('77.1', '0.031', '–')
    """
    if math.isnan(value):
        return "–"
    return minus(f"{value:z.3f}" if name in NON_SHARE_METRICS else f"{100 * value:.1f}")


def modality_title(spec: str, task: str = "") -> str:
    """The title of a modality in tables, after the name of a task if one is given.

    Modalities that differ in more than the number of nucleus types have different titles.

    >>> modality_title("downsample:7,point"), modality_title("nuclei:raw,7")
    ('7 × 7 px, point', 'masks, raw')
    >>> modality_title("full", "cell")
    'cell: whole patch'
    """
    name, _, values = spec.partition(":")
    title = DOWNSAMPLE_SIDE.sub(r"\1 × \1 px", spec)
    if spec == "full":
        title = "whole patch"
    elif name == "nuclei":
        drawn = [
            value for value in values.split(",") if value and not NUCLEUS_TYPES.fullmatch(value)
        ]
        title = ", ".join(["masks", *drawn])
    elif name == "downsample":
        title = title.replace(",", ", ")
    return f"{task}: {title}" if task else title


def typeset(text: str) -> str:
    """Write `7 x 7 px` with a multiplication sign and `a - b` with a minus sign."""
    return re.sub(r"(?<=\d) x (?=\d)", " × ", text).replace(" - ", " − ")


def per_cent(value: float) -> str:
    return f"{100 * value:.1f}"


MIN_RELIABLE_GROUPS = 8
UNRELIABLE_NOTE = (
    f"† Rough: fewer than {MIN_RELIABLE_GROUPS} groups, or an interval of width 0, because the "
    "test patches show no variation."
)

ROUNDING = 1e-12
"""Smaller values are 0 with a rounding error: the mean of three equal accuracies is not exact."""


def is_unreliable(value: Interval) -> bool:
    """Whether an interval is less reliable than its width suggests: few groups, or width 0."""
    few_groups = value.unit == "group" and value.units < MIN_RELIABLE_GROUPS
    return few_groups or value.high - value.low < ROUNDING


def bounds(value: Interval, signed: bool = False) -> str:
    """Format an interval as `[80.0, 86.7]`, in per cent or points, with † if it is rough.

    A bound that is rounded to 0 keeps its sign, which shows whether zero is inside.
    """
    ends = (0.0 if abs(end) < ROUNDING else end for end in (value.low, value.high))
    low, high = (minus(f"{100 * end:{'+' if signed and end else ''}.1f}") for end in ends)
    return f"[{low}, {high}]" + (" †" if is_unreliable(value) else "")


def points(value: float) -> str:
    """Format a difference of two accuracies in points.

    >>> points(0.034), points(-0.0001)
    ('+3.4', '0.0')
    """
    return minus(f"{100 * value:+z.1f}").replace("+0.0", "0.0")


def minus(number: str) -> str:
    """Replace hyphens with minus signs."""
    return number.replace("-", "−")


def join_words(words: Iterable[str]) -> str:
    """Join words as `a, b and c`; empty if there are none."""
    *all_but_last, last = [*words] or [""]
    return f"{', '.join(all_but_last)} and {last}" if all_but_last else last


def count(number: int, noun: str) -> str:
    """Format a number with its noun in singular or plural.

    >>> count(1, "run"), count(1250, "run"), count(2, "patch")
    ('1 run', '1,250 runs', '2 patches')
    """
    plural_suffix = "es" if noun.endswith("ch") else "s"
    return f"{number:,} {noun}" + ("" if number == 1 else plural_suffix)


def abbreviate(name: str, letters: int) -> str:
    """Shorten a name to at most this many letters.

    The middle is cut, because names often differ at the end.

    >>> abbreviate("asymmetric, independent, seed 1", 16), abbreviate("stroma", 16)
    ('asymmetr… seed 1', 'stroma')
    """
    if len(name) <= letters:
        return name
    half = (letters - 1) // 2
    return f"{name[: letters - 1 - half]}…{name[len(name) - half :]}"


def duration(seconds: float) -> str:
    """Format a duration in seconds, minutes or hours.

    >>> duration(45), duration(138), duration(45000)
    ('45 seconds', '2.3 minutes', '12.5 hours')
    """
    if seconds < 60:
        return count(round(seconds), "second")
    return f"{seconds / 60:.1f} minutes" if seconds < 3600 else f"{seconds / 3600:,.1f} hours"


def markdown_text(text: str) -> str:
    """Escape text for Markdown: no markup, no end of a table cell, no line break.

    >>> print(markdown_text("a|b <i> x_y _z"))
    a\\|b \\<i> x_y \\_z
    """
    text = re.sub(r"([\\`*|<]|(?<=\])\()", r"\\\1", " ".join(text.split()))
    return re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", text)
