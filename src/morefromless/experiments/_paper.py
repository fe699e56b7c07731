"""The paper's settings, and how the settings of runs differ from them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from morefromless.config import RunConfig, to_flat
from morefromless.evaluation.results import Data
from morefromless.report.words import join_words

TRAIN_PATCHES, TEST_PATCHES = 100_000, 7_180
"""Patches of NCT-CRC-HE-100K and of CRC-VAL-HE-7K."""


@dataclass(frozen=True)
class PaperSetting:
    """An option whose value in the paper or its code is known."""

    title: str
    paper: str
    option: str
    values: tuple[Any, ...]
    """Values that agree with the paper."""


PAPER_SETTINGS = (
    PaperSetting("encoder", "ResNet-50", "encoder", ("resnet50", "keras-v1")),
    PaperSetting("side of its input", "224 px", "size", (224,)),
    PaperSetting("width of the expander", "8192", "width", (8192,)),
    PaperSetting("epochs", "100", "epochs", (100,)),
    PaperSetting("batch", "128", "batch", (128,)),
    PaperSetting("highest learning rate", "0.0001", "lr", (1e-4,)),
    PaperSetting("warm-up in epochs", "0.1", "warmup", (0.1,)),
    PaperSetting("precision in bits", "not stated; 32 in the code", "precision", ("32",)),
)


def departures(
    runs: Sequence[RunConfig], data: Data, standardise: bool
) -> Iterator[tuple[str, str, str]]:
    """Yield settings that differ from the paper's: setting, value in the paper, value here."""
    classes = len(data.classes.get("tissue", {}))
    train, test = data.patches.get("train", 0), data.patches.get("test", 0)
    same_counts = (
        abs(train - TRAIN_PATCHES) <= TRAIN_PATCHES // 100
        and abs(test - TEST_PATCHES) <= TEST_PATCHES // 100
    )
    if not (same_counts and data.side == 224 and classes == 9):
        yield (
            "patches",
            f"NCT-CRC-HE-100K, tested on CRC-VAL-HE-7K: {TRAIN_PATCHES:,} and {TEST_PATCHES:,} of "
            "9 tissues, 224 px",
            f"{data.title}: {train:,} and {test:,}, {data.side} px",
        )
    options = [to_flat(run) for run in runs]
    for setting in PAPER_SETTINGS:
        values = dict.fromkeys(str(of_run[setting.option]) for of_run in options)
        if set(values) - {str(value) for value in setting.values}:
            yield setting.title, setting.paper, join_words(values)
    if standardise:
        yield (
            "probe",
            "softmax layer on unscaled features",
            "each feature scaled to unit variance first",
        )
    seeds = len({run.seed for run in runs})
    if seeds > 1:
        yield "runs of each arm", "one, as far as is stated", str(seeds)
