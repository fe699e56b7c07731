"""What differs from the paper: settings that are others, and what its text leaves to its code."""

from dataclasses import dataclass
from typing import Any, Literal

from morefromless.report.reproduced.conventions import conventions
from morefromless.report.reproduced.left import Left, StoreFacts
from morefromless.report.reproduced.used import UNKNOWN, Used
from morefromless.report.reproduced.wording import listed
from morefromless.report.section import Section

TRAIN, TEST = 100_000, 7_180
"""Patches of NCT-CRC-HE-100K and of CRC-VAL-HE-7K."""
STEPS = 78_100
"""Of the paper's self-supervised training: 781 batches in each of 100 epochs."""


@dataclass(frozen=True)
class Departures:
    """Both tables, and what follows for comparing our columns with the paper's."""

    sections: list[Section]
    comparable: Literal["yes", "with care", "no"]
    """`no` where the data or the scale are others, `with care` where single settings are."""
    settings: list[str]
    """Settings that differ, by name."""


def departures(left: Left) -> Departures:
    """What differs, from the options of the runs themselves."""
    used = Used(left)
    patches = _patches(left.plan.store)
    settings = [*_settings(used), *_probe(left)]
    rows = [*([patches] if patches else []), *settings, *_seeds(used)]
    sections = [
        Section("Settings that are not the paper's", ("matter", "paper", "here"), rows, []),
        Section(
            "Where the paper's text and its authors' code differ, or are silent",
            ("matter", "text", "authors' code", "here"),
            conventions(used),
            [
                "The authors published their code for VICReg only; what it lacks is told from "
                "their "
                "later code for TriDeNT."
            ],
        ),
    ]
    names = [row[0] for row in settings]
    if patches or left.plan.scale != "paper":
        return Departures(sections, "no", names)
    return Departures(sections, "with care" if names else "yes", names)


def _patches(store: StoreFacts) -> tuple[str, str, str] | None:
    """None for NCT-CRC-HE and CRC-VAL-HE, but for a few patches that were set aside."""
    train, test = store.kept.get("train", 0), store.kept.get("test", 0)
    near = abs(train - TRAIN) <= TRAIN // 100 and abs(test - TEST) <= TEST // 100
    if near and store.side == 224 and len(store.classes) == 9:
        return None
    classes = f" of {len(store.classes)} classes" if len(store.classes) > 1 else ""
    scale = f", {store.um_per_px:g} µm/px" if store.um_per_px else ""
    return (
        "patches",
        f"NCT-CRC-HE-100K, tested on CRC-VAL-HE-7K: {TRAIN:,} and {TEST:,} of 9 tissues, 224 px, "
        "0.5 µm/px",
        f"{store.title}: {train:,} and {test:,}{classes}, {store.side} px{scale}",
    )


@dataclass(frozen=True)
class _Setting:
    """An option that the paper tells."""

    title: str
    paper: str
    option: str
    usual: tuple[Any, ...]
    """Values that are the paper's."""


_SETTINGS = (
    _Setting("encoder", "ResNet-50", "encoder", ("resnet50", "keras-v1")),
    _Setting("side of its input", "224 px", "size", (224,)),
    _Setting("width of the expander", "8192", "width", (8192,)),
    _Setting("epochs", "100", "epochs", (100,)),
    _Setting("batch", "128", "batch", (128,)),
    _Setting("highest learning rate", "0.0001", "lr", (1e-4,)),
    _Setting("warm-up in epochs", "0.1", "warmup", (0.1,)),
    _Setting("precision in bits", "not told; 32 in the code", "precision", ("32",)),
)


def _settings(used: Used) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for one in _SETTINGS:
        values = used(one.option)
        if not values:
            rows.append((one.title, one.paper, UNKNOWN))
        elif set(values) - set(one.usual):
            rows.append((one.title, one.paper, listed(map(str, values))))
    steps = used.steps()
    if steps and steps[-1] != STEPS:
        most = f"{steps[-1]:,}" + (f" ({steps[0]:,} at least)" if len(steps) > 1 else "")
        rows.append(("steps of self-supervised training", f"{STEPS:,}", most))
    return rows


def _probe(left: Left) -> list[tuple[str, ...]]:
    recipe = left.plan.recipe
    if recipe is not None and not recipe.get("standardise", False):
        return []
    here = UNKNOWN if recipe is None else "each feature brought to unit variance first"
    return [("probe", "softmax layer on the features as they are", here)]


def _seeds(used: Used) -> list[tuple[str, ...]]:
    seeds = len(used("seed"))
    return [("runs of each arm", "one, as far as is told", str(seeds))] if seeds > 1 else []
