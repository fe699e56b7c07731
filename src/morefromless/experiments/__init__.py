"""Experiments: the paper's tables and figures, and further questions.

An experiment declares which studies it needs, and which of their numbers fills which cell of its
table. Published numbers are in `published.csv`, joined by experiment, row and column. Experiments
share runs: a run that two experiments need is trained once. To add an experiment, add a file with
one public class that derives from `Experiment`. Its name in `mfl reproduce NAME` is the file's
name.
"""

import csv
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Literal

import msgspec

from morefromless.config import StudyConfig
from morefromless.evaluation.results import Results, Summary
from morefromless.experiments._setting import SCALES as SCALES
from morefromless.experiments._setting import Setting as Setting
from morefromless.report.content import Picture
from morefromless.specs import members


@dataclass(frozen=True)
class Cell:
    """One of our numbers in a table."""

    row: str
    column: str
    summary: Summary
    x: float | None = None
    """Position on a figure's axis, or None."""
    note: str = ""
    """Difference from the row's name, such as the use of a smaller encoder."""


@dataclass(frozen=True)
class Figure:
    """Figures of representations for an experiment (`mfl represent`)."""

    study: str
    primary: str
    arms: tuple[str, ...]
    stems: tuple[str, ...]
    """cka, cka-diagonal, confusion, gradcam-first, gradcam-stages ..."""


class Experiment(ABC):
    """One table, figure or question."""

    title: str
    """Such as `Table 1: multi-magnification distillation`."""
    about: str
    """The question, and the paper's result."""
    needs: frozenset[Literal["tissue", "nuclei"]] = frozenset()
    """What the store must contain: tissue classes, nuclei."""

    @abstractmethod
    def studies(self, setting: Setting) -> dict[str, StudyConfig]:
        """The studies to train and evaluate, by a short name."""

    def cells(self, results: Mapping[str, Results], setting: Setting) -> list[Cell]:  # noqa: ARG002
        """The cells of the table, row by row."""
        return []

    def figures(self, setting: Setting) -> list[Figure]:  # noqa: ARG002
        """Figures of representations."""
        return []

    def draw(self, cells: list[Cell], folder: Path) -> list[Picture]:  # noqa: ARG002
        """Write the experiment's own figures to `folder`."""
        return []

    def headline(self, results: Mapping[str, Results], setting: Setting) -> str:  # noqa: ARG002
        """A sentence for the top of the page."""
        return ""


def experiment_names() -> list[str]:
    """Names of all experiments: the paper's tables, its figures, then further questions."""
    titles = {name: kind.title for name, kind in members(sys.modules[__name__], Experiment).items()}
    places = {word: place for place, word in enumerate(("Table", "Fig."))}
    return sorted(titles, key=lambda n: (places.get(titles[n].split()[0], 2), titles[n]))


@dataclass(frozen=True)
class Published:
    """One number from the paper: a row of `published.csv`."""

    experiment: str
    row: str
    column: str
    value: float
    place: str
    """Place in the paper."""
    configuration: str
    """Name of the configuration if the paper has several numbers for it, else empty."""


@cache
def published() -> tuple[Published, ...]:
    """All published numbers."""
    with resources.files(__name__).joinpath("published.csv").open(encoding="utf-8") as file:
        return msgspec.convert(list(csv.DictReader(file)), tuple[Published, ...], strict=False)


def first_summary(results: Results, **where: str) -> Summary | None:
    """The first summary whose condition has these values, such as `arm="supervised"`."""
    summaries = results.select(lambda c: all(getattr(c, k) == value for k, value in where.items()))
    return summaries[0] if summaries else None
