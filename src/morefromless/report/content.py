"""The files that a report is made from, written by `mfl reproduce` and `mfl compare`.

- `plan.json`: experiments, runs, data, versions and machine of a reproduction
- `experiments/NAME.json`: the cells of an experiment's table: our and the published values
- `STUDY/results.json`: the results of each study (`evaluation.results`)
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from morefromless import files
from morefromless.documents import read_json
from morefromless.errors import ConfigError
from morefromless.evaluation.results import Condition, Data
from morefromless.report.section import Section

File = TypeVar("File")


@dataclass(frozen=True)
class Picture:
    """A figure in the folder."""

    path: str
    """Relative to the folder, `.svg`; other formats are next to it."""
    caption: str
    alt: str
    """Alternative text for readers who cannot see the figure."""


@dataclass(frozen=True, kw_only=True)
class CellFile:
    """One cell of an experiment's table."""

    row: str
    column: str
    study: str | None = None
    """The study with its results, or None if it was not run."""
    condition: Condition | None = None
    note: str = ""
    """How the cell differs from its row's title, such as a substitute for an encoder."""
    published: float | None = None
    place: str = ""
    """The place of the published value in the paper."""


@dataclass(frozen=True, kw_only=True)
class ExperimentFile:
    """One experiment, or the one study of a comparison."""

    name: str
    title: str
    about: str
    headline: str = ""
    studies: dict[str, str]
    """Name to folder, relative to the folder of the report."""
    cells: list[CellFile] = field(default_factory=list)
    drawn: list[Picture] = field(default_factory=list)
    """Figures of its numbers."""
    pictures: list[Picture] = field(default_factory=list)
    """Figures of representations."""
    tables: list[Section] = field(default_factory=list)
    """Tables of representations."""

    def __post_init__(self) -> None:
        unknown = {cell.study for cell in self.cells if cell.study} - self.studies.keys()
        if unknown:
            raise ValueError(f"a cell belongs to the study '{min(unknown)}', which is not listed")

    def write(self, folder: Path) -> None:
        files.write_json(folder / "experiments" / f"{self.name}.json", self)


@dataclass(frozen=True, kw_only=True)
class PlanFile:
    """The plan of a reproduction, with its machine and versions."""

    command: str
    options: dict[str, Any]
    """Flat (`config.to_flat`)."""
    about: str
    """Description of the scale."""
    settings: dict[str, Any]
    """Settings that all runs share and that are not the default."""
    sides: list[int]
    seeds: int
    data: Data
    experiments: dict[str, list[str]]
    """Name of an experiment to the names of its runs."""
    titles: dict[str, str]
    skipped: dict[str, str]
    """Experiments that are impossible with this store, and why."""
    departures: list[tuple[str, str, str]]
    """Settings that differ from the paper: matter, paper, here."""
    repeated: dict[str, list[float]]
    """Configurations for which the paper gives several numbers."""
    versions: dict[str, str]
    machine: dict[str, Any]
    when: str

    def __post_init__(self) -> None:
        unknown = self.experiments.keys() - self.titles.keys()
        if unknown:
            raise ValueError(f"the experiment '{min(unknown)}' has no title")

    def write(self, folder: Path) -> None:
        files.write_json(folder / "plan.json", self)


def read(path: Path, kind: type[File]) -> File:
    """Read a file that `write` wrote. Raises `ConfigError` if it is missing or damaged."""
    try:
        return read_json(path, kind)
    except FileNotFoundError as error:
        raise ConfigError(f"{path} is missing; give a folder of mfl reproduce.") from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} is damaged ({error}); run mfl reproduce again.") from error
