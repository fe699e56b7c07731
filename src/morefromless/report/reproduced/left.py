"""What `mfl reproduce` left in its folder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from morefromless.comparison.floors import FloorRow
from morefromless.evaluation.intervals import Interval
from morefromless.experiments import Number
from morefromless.report.section import Section


@dataclass(frozen=True)
class Contrast:
    """Two arms on the same test patches."""

    name: str
    on: str
    difference: Interval
    p: float
    """Holm-corrected within its study."""
    verdict: str
    study: str
    """The folder of the comparison that it is of."""


@dataclass(frozen=True)
class Floor(FloorRow):
    """What a modality yields without learning a representation, on a task and in a study."""

    task: str = ""
    study: str = ""


@dataclass(frozen=True)
class Unbeaten:
    """A modality of a study on which no arm is above the highest floor."""

    modality: str
    task: str
    study: str


@dataclass(frozen=True)
class Look:
    """Figures of what a study's encoders represent, and their tables."""

    study: str
    primary: str
    figures: tuple[str, ...]
    sections: tuple[Section, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Finished:
    """An experiment whose runs are all done."""

    name: str
    title: str
    about: str
    numbers: tuple[Number, ...]
    contrasts: tuple[Contrast, ...]
    floors: tuple[Floor, ...]
    unbeaten: tuple[Unbeaten, ...]
    rising: tuple[str, ...]
    curves: tuple[str, ...]
    pictures: tuple[str, ...]
    looks: tuple[Look, ...]
    caveats: tuple[str, ...]
    runs: tuple[str, ...]

    def called(self, study: str) -> str:
        """What tells a study, by its folder, from the others: a share, an encoder, an objective."""
        own = study.removeprefix(self.name).lstrip("-")
        try:
            return f"{float(own):.0%} of {self.name.partition('-')[2]}"
        except ValueError:
            return own


@dataclass(frozen=True)
class StoreFacts:
    """The patches."""

    title: str
    hash: str
    side: int
    um_per_px: float | None
    classes: tuple[str, ...]
    kept: Mapping[str, int]
    """Split to number of patches."""
    caveats: tuple[str, ...]


@dataclass(frozen=True)
class Planned:
    """plan.json, as the last `mfl reproduce` of this folder wrote it."""

    options: Mapping[str, Any]
    scale: str
    about: str
    protocol: str
    store: StoreFacts
    experiments: Mapping[str, tuple[str, ...]]
    """Name to runs."""
    skipped: Mapping[str, str]
    versions: Mapping[str, str]
    machine: Mapping[str, Any]
    when: str
    recipe: Mapping[str, Any] | None
    """Settings of the scale and of the person, by the options' names; None where not told."""


@dataclass(frozen=True)
class Metered:
    """What the whole machine used during one command."""

    joules: Mapping[str, float]
    """By counter."""
    seconds: float


@dataclass(frozen=True)
class Left:
    """Everything that a report is made of."""

    out: Path
    plan: Planned
    finished: tuple[Finished, ...]
    """In the order of `all`; others, from outside the package, after them."""
    waiting: Mapping[str, str] = field(default_factory=dict)
    """Experiments that are planned and not finished: title, and how far they are."""
    records: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What each run that is done says of itself, by the name of its folder; some may be gone."""
    energy: Sequence[Metered] = ()

    @property
    def runs(self) -> list[str]:
        """Runs of all experiments that are finished, each once."""
        return list(dict.fromkeys(name for one in self.finished for name in one.runs))
