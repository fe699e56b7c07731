"""Experiments: the paper's tables and figures, and the questions asked next. An open set.

An experiment is a page of declarations: which comparisons it takes, and which of their numbers
stands beside which published one. Runs are shared: what two experiments want alike is trained once.
To add one, add a file with one public class deriving from `Experiment`; `mfl reproduce NAME` knows
it by the file's name.
"""

import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from morefromless.comparison.compare import Comparison
from morefromless.comparison.results import Row
from morefromless.comparison.transfer import Transfer
from morefromless.evaluation.intervals import Interval
from morefromless.experiments._setting import SCALES as SCALES
from morefromless.experiments._setting import Setting as Setting
from morefromless.options import CompareOptions, TransferOptions
from morefromless.specs import members

Study = CompareOptions | TransferOptions
"""What is trained and asked for an experiment, in a folder of its own."""
Found = Mapping[str, Comparison | Transfer]
"""What came of an experiment's studies, by the names that it gave them."""


@dataclass(frozen=True)
class Number:
    """One cell of a table: ours, and the published one where the paper has it."""

    row: str
    column: str
    ours: Interval
    seeds: tuple[float, ...]
    """Accuracy of each run."""
    published: float | None = None
    place: str = ""
    """Where in the paper."""


@dataclass(frozen=True)
class Look:
    """A look into the encoders of a study's arms (`mfl represent`), for a figure of the paper."""

    study: str
    primary: str
    arms: tuple[str, ...]
    figures: tuple[str, ...]
    """Stems of the figures that are shown: cka, cka-diagonal, confusion, gradcam-first ..."""


class Experiment(ABC):
    """One table or figure, or one question."""

    title: str
    """Such as `Table 1: multi-magnification distillation`."""
    about: str
    """What it asks, and what the paper found."""
    needs: frozenset[Literal["tissue", "nuclei"]] = frozenset()
    """What the store must have: classes of tissue, nuclei."""

    @abstractmethod
    def studies(self, setting: Setting) -> dict[str, Study]:
        """What has to be trained and asked, by a short name."""

    def numbers(self, found: Found, setting: Setting) -> list[Number]:  # noqa: ARG002
        """The cells of its table, row by row."""
        return []

    def looks(self, setting: Setting) -> list[Look]:  # noqa: ARG002
        """Figures of representations that belong to it."""
        return []


def known() -> list[str]:
    """Names of all experiments: the paper's tables, its figures, then questions of ours."""
    made = {name: kind.title for name, kind in members(sys.modules[__name__], Experiment).items()}
    places = {word: place for place, word in enumerate(("Table", "Fig."))}
    return sorted(made, key=lambda n: (places.get(made[n].split()[0], 2), made[n]))


def rows_of(found: Comparison | Transfer) -> list[Row]:
    """The rows of a comparison."""
    assert isinstance(found, Comparison)
    return found.rows


def number(
    row: Row, name: str, column: str, published: float | None = None, place: str = ""
) -> Number:
    """A comparison's row as a cell."""
    return Number(name, column, row.accuracy, row.accuracies, published, place)


def chosen(rows: Iterable[Row], **wanted: object) -> Row | None:
    """The first row whose arm (kind, sharing, primary) and branch are as wanted."""
    for row in rows:
        told = {**vars(row.arm), "branch": row.branch}
        if all(told[key] == value for key, value in wanted.items()):
            return row
    return None
