"""Words and numbers as a reader should meet them."""

import math
import re
from collections.abc import Iterable

from morefromless.evaluation.intervals import Interval

SIDE = re.compile(r"\bdownsample:(\d+)")
TYPES = re.compile(r"(types=)?\d+")

METRICS = {
    "balanced_accuracy": "balanced",
    "macro_f1": "macro-F1",
    "ece": "ECE",
    "brier": "Brier",
    "cohen_kappa": "kappa",
    "auroc": "AUROC",
    "auprc": "AUPRC",
}
"""Short titles; any other metric is called by its name."""


NOT_SHARES = ("ece", "brier", "cohen_kappa", "auroc", "auprc")
"""Metrics that are no shares of patches."""


def metric_title(name: str) -> str:
    """A metric as heads of tables call it.

    >>> metric_title("macro_f1"), metric_title("top_3")
    ('macro-F1', 'top 3')
    """
    return METRICS.get(name, name.replace("_", " "))


def metric_value(name: str, value: float) -> str:
    """Shares of patches in per cent; areas, kappa and measures of calibration as they are; a dash
    where a metric is not defined (NaN).

    >>> metric_value("macro_f1", 0.7712), metric_value("ece", 0.0312), metric_value("x", math.nan)
    ('77.1', '0.031', '–')
    """
    if math.isnan(value):
        return "–"
    return minus(f"{value:z.3f}" if name in NOT_SHARES else f"{100 * value:.1f}")


def modality_title(spec: str, task: str = "") -> str:
    """A modality as tables call it, under a task where several are asked; two that differ in more
    than the number of nuclei's types are called differently.

    >>> modality_title("downsample:7,point"), modality_title("nuclei:raw,7")
    ('7 × 7 px, point', 'masks, raw')
    >>> modality_title("full", "cell")
    'cell: whole patch'
    """
    name, _, values = spec.partition(":")
    title = SIDE.sub(r"\1 × \1 px", spec)
    if spec == "full":
        title = "whole patch"
    elif name == "nuclei":
        drawn = [value for value in values.split(",") if value and not TYPES.fullmatch(value)]
        title = ", ".join(["masks", *drawn])
    elif name == "downsample":
        title = title.replace(",", ", ")
    return f"{task}: {title}" if task else title


def typeset(text: str) -> str:
    """`7 x 7 px` with a multiplication sign, `a - b` with a minus."""
    return re.sub(r"(?<=\d) x (?=\d)", " × ", text).replace(" - ", " − ")


def per_cent(value: float) -> str:
    return f"{100 * value:.1f}"


FEW_GROUPS = 8
ROUGH = (
    f"† Rough: fewer than {FEW_GROUPS} groups, or an interval of width 0, whose chance no test "
    "patch has shown."
)


def rough(value: Interval) -> bool:
    """Whether an interval says less than its width: few groups, or no chance at all."""
    few = value.unit == "group" and value.units < FEW_GROUPS
    return few or value.low == value.high


def bounds(value: Interval, signed: bool = False) -> str:
    """`[80.0, 86.7]`, in per cent or points, with † where it is rough.

    A bound that is rounded to 0 keeps its sign: it says whether zero is inside.
    """
    low, high = (
        minus(f"{100 * end:{'+' if signed and end else ''}.1f}") for end in (value.low, value.high)
    )
    return f"[{low}, {high}]" + (" †" if rough(value) else "")


def points(value: float) -> str:
    """A difference of two accuracies.

    >>> points(0.034), points(-0.0001)
    ('+3.4', '0.0')
    """
    return minus(f"{100 * value:+z.1f}").replace("+0.0", "0.0")


def minus(number: str) -> str:
    """With a minus sign in place of hyphens."""
    return number.replace("-", "−")


def join_words(words: Iterable[str]) -> str:
    """`a, b and c`; nothing of nothing."""
    *most, last = [*words] or [""]
    return f"{', '.join(most)} and {last}" if most else last


def count(number: int, noun: str) -> str:
    """A number of things, with the noun in its number.

    >>> count(1, "run"), count(1250, "run"), count(2, "patch")
    ('1 run', '1,250 runs', '2 patches')
    """
    ending = "es" if noun.endswith("ch") else "s"
    return f"{number:,} {noun}" + ("" if number == 1 else ending)


def abbreviate(name: str, letters: int) -> str:
    """A name of at most so many letters: the middle is left out, since names often differ at the
    end.

    >>> abbreviate("asymmetric, independent, seed 1", 16), abbreviate("stroma", 16)
    ('asymmetr… seed 1', 'stroma')
    """
    if len(name) <= letters:
        return name
    half = (letters - 1) // 2
    return f"{name[: letters - 1 - half]}…{name[len(name) - half :]}"


def duration(seconds: float) -> str:
    """Seconds in the largest unit that they fill.

    >>> duration(45), duration(138), duration(45000)
    ('45 seconds', '2.3 minutes', '12.5 hours')
    """
    if seconds < 60:
        return count(round(seconds), "second")
    return f"{seconds / 60:.1f} minutes" if seconds < 3600 else f"{seconds / 3600:,.1f} hours"


def markdown_text(text: str) -> str:
    """Text that means itself in Markdown: no markup, no cell's end, no new line.

    >>> print(markdown_text("a|b <i> x_y _z"))
    a\\|b \\<i> x_y \\_z
    """
    text = re.sub(r"([\\`*|<]|(?<=\])\()", r"\\\1", " ".join(text.split()))
    return re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", text)
