"""What a report rests on, as it lies in a folder; written by `mfl reproduce` and `mfl compare`.

- `plan.json`: experiments, runs, data, versions and machine of a reproduction
- `experiments/NAME.json`: the cells of an experiment's table, ours beside the published ones
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
    """A figure that lies in the folder."""

    path: str
    """Relative to the folder, `.svg`; other forms lie beside it."""
    caption: str
    alt: str
    """What a reader who cannot see it should know of it."""


@dataclass(frozen=True, kw_only=True)
class CellFile:
    """One cell of an experiment's table."""

    row: str
    column: str
    study: str | None = None
    """Whose results have it; None where it was not run."""
    condition: Condition | None = None
    note: str = ""
    """What differs from what its row is called, such as a stand-in for an encoder."""
    published: float | None = None
    place: str = ""
    """Where in the paper."""


@dataclass(frozen=True, kw_only=True)
class ExperimentFile:
    """One experiment, or the one study of a comparison."""

    name: str
    title: str
    about: str
    headline: str = ""
    studies: dict[str, str]
    """Name to folder, relative to the report's."""
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
            raise ValueError(f"a cell is of the study '{min(unknown)}', which is not listed")

    def write(self, folder: Path) -> None:
        files.write_json(folder / "experiments" / f"{self.name}.json", self)


@dataclass(frozen=True, kw_only=True)
class PlanFile:
    """A reproduction: what was planned, where, and by which versions."""

    command: str
    options: dict[str, Any]
    """Flat (`config.to_flat`)."""
    about: str
    """Of the scale."""
    settings: dict[str, Any]
    """What all runs have in common and is not the default."""
    sides: list[int]
    seeds: int
    data: Data
    experiments: dict[str, list[str]]
    """Name to the names of its runs."""
    titles: dict[str, str]
    skipped: dict[str, str]
    """Experiments that this store cannot pose, and why."""
    departures: list[tuple[str, str, str]]
    """Settings that are not the paper's: matter, paper, here."""
    repeated: dict[str, list[float]]
    """Configurations that the paper gives more than one number of."""
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
    """What `write` wrote. Raises `ConfigError` where it is missing or damaged."""
    try:
        return read_json(path, kind)
    except FileNotFoundError as error:
        raise ConfigError(f"{path} is missing; give a folder of mfl reproduce.") from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} is damaged ({error}); run mfl reproduce again.") from error
