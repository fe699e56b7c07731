"""Experiments: the paper's tables and figures, and the questions asked next. An open set.

An experiment is a page of declarations: which studies it takes, and which of their numbers is which
cell of its table. Published numbers stand in `published.csv`, joined by experiment, row and column.
Runs are shared: what two experiments have in common is trained once. To add one, add a file with
one public class deriving from `Experiment`; `mfl reproduce NAME` knows it by the file's name.
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

from morefromless.config import StudyConfig
from morefromless.evaluation.results import Results, Summary
from morefromless.experiments._setting import SCALES as SCALES
from morefromless.experiments._setting import Setting as Setting
from morefromless.report.content import Picture
from morefromless.specs import members


@dataclass(frozen=True)
class Cell:
    """One number of ours in a table."""

    row: str
    column: str
    summary: Summary
    x: float | None = None
    """Its place on a figure's axis, where it has one."""
    note: str = ""
    """What differs from what its row is called, such as a stand-in for an encoder."""


@dataclass(frozen=True)
class Figure:
    """Figures of representations that belong to an experiment (`mfl represent`)."""

    study: str
    primary: str
    arms: tuple[str, ...]
    stems: tuple[str, ...]
    """cka, cka-diagonal, confusion, gradcam-first, gradcam-stages ..."""


class Experiment(ABC):
    """One table or figure, or one question."""

    title: str
    """Such as `Table 1: multi-magnification distillation`."""
    about: str
    """What it asks, and what the paper found."""
    needs: frozenset[Literal["tissue", "nuclei"]] = frozenset()
    """What the store must have: classes of tissue, nuclei."""

    @abstractmethod
    def studies(self, setting: Setting) -> dict[str, StudyConfig]:
        """What has to be trained and asked, by a short name."""

    def cells(self, results: Mapping[str, Results], setting: Setting) -> list[Cell]:  # noqa: ARG002
        """The cells of its table, row by row."""
        return []

    def figures(self, setting: Setting) -> list[Figure]:  # noqa: ARG002
        """Figures of representations that belong to it."""
        return []

    def draw(self, cells: list[Cell], folder: Path) -> list[Picture]:  # noqa: ARG002
        """A figure of its own, written to `folder`."""
        return []

    def headline(self, results: Mapping[str, Results], setting: Setting) -> str:  # noqa: ARG002
        """A sentence that belongs to the top of the page."""
        return ""


def known() -> list[str]:
    """Names of all experiments: the paper's tables, its figures, then questions of ours."""
    titles = {name: kind.title for name, kind in members(sys.modules[__name__], Experiment).items()}
    places = {word: place for place, word in enumerate(("Table", "Fig."))}
    return sorted(titles, key=lambda n: (places.get(titles[n].split()[0], 2), titles[n]))


@dataclass(frozen=True)
class Published:
    """One number of the paper: a line of `published.csv`."""

    experiment: str
    row: str
    column: str
    value: float
    place: str
    """Where in the paper."""
    configuration: str
    """Of configurations that the paper gives more than one number of, what they are."""


@cache
def published() -> tuple[Published, ...]:
    """The paper's numbers."""
    with resources.files(__name__).joinpath("published.csv").open(encoding="utf-8") as file:
        return tuple(
            Published(
                line["experiment"],
                line["row"],
                line["column"],
                float(line["value"]),
                line["place"],
                line["configuration"],
            )
            for line in csv.DictReader(file)
        )


def find(results: Results, **where: str) -> Summary | None:
    """The first summary whose condition has these values, such as `arm="supervised"`."""
    chosen = results.select(lambda c: all(getattr(c, k) == value for k, value in where.items()))
    return chosen[0] if chosen else None
