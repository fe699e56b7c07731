"""The results of a study: one tidy table, and what is said of it.

A study evaluates frozen encoders on test patches. Everything that a reader gets, tables, figures
and pages, is a view of `Results`; it is saved whole and read back from its folder:

- `results.csv`: the tidy table, a line a run, branch, task and metric (`Results.table`)
- `curves.csv`: learning curves, where they were drawn (`Results.curves`)
- `results.json`: the rest; options, summaries over seeds, contrasts, counts, caveats
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd

import morefromless
from morefromless import files
from morefromless.config import StudyConfig, from_flat, to_flat
from morefromless.documents import read_json
from morefromless.errors import ConfigError
from morefromless.evaluation.contrasts import ContrastTest
from morefromless.evaluation.intervals import Interval
from morefromless.evaluation.paired import McNemar
from morefromless.runs import unwritten

KEY = ("arm", "sharing", "objective", "modality", "partner")
"""What of a condition tells its encoders apart, whatever they are asked."""

COLUMNS = ("run", *KEY, "task", "encoder", "seed", "metric", "value")
"""Of the tidy table, in order."""

CURVE_COLUMNS = ("run", *KEY, "seed", "step", "accuracy")
"""Of the table of learning curves."""

FLOORS = ("majority", "mean-rgb", "colour-histogram", "random encoder")
"""Arms that need no learning of representations."""


@dataclass(frozen=True)
class Condition:
    """What a row of a table stands for: encoders that differ in their seed alone, and a task."""

    arm: str
    """asymmetric, symmetric, trident, distillation, supervised, fine-tuned, a floor (`FLOORS`), or
    `reference`: a published encoder, which was not trained here."""
    sharing: str
    """shared or independent; empty where there are no branches."""
    objective: str
    """What was minimised: an objective or, of supervised arms, the task whose labels they learnt;
    empty for floors and references."""
    modality: str
    """What the encoder is given."""
    partner: str
    """The other modality in training, of asymmetric, TriDeNT and distillation arms, and of
    encoders that were asymmetric before they were fine-tuned; else empty."""
    task: str
    """What is asked."""
    encoder: str = ""
    """Which encoder a reference is, such as `resnet18 at 224 px`; else empty: the study's."""

    @property
    def floor(self) -> bool:
        return self.arm in FLOORS

    @property
    def reference(self) -> bool:
        return self.arm == "reference"

    @property
    def trained(self) -> bool:
        """Whether it is an arm that the study trained."""
        return not (self.floor or self.reference)

    @property
    def title(self) -> str:
        """`asymmetric, shared`, `floor: majority` or `reference: resnet18 at 224 px`."""
        if self.floor:
            return f"floor: {self.arm}"
        if self.reference:
            return f"reference: {self.encoder}"
        return ", ".join(word for word in (self.arm, self.variant) if word)

    @property
    def variant(self) -> str:
        """What tells arms of a kind apart: the sharing, the objective of a teacher's student, what
        a fine-tuned encoder began from, or a reference's encoder."""
        if self.arm == "fine-tuned":
            return f"{'asymmetric' if self.partner else 'symmetric'}, {self.sharing}"
        return self.encoder or (self.objective if self.arm == "distillation" else self.sharing)

    @property
    def method(self) -> str:
        """An arm and what it minimised: `vicreg asymmetric, shared`, `supervised on tissue`."""
        if self.arm == "supervised":
            return f"supervised on {self.objective}"
        if self.floor or self.reference or self.arm == "distillation":
            return self.title
        return f"{self.objective} {self.title}"


@dataclass(frozen=True)
class Summary:
    """One condition over its seeds."""

    condition: Condition
    accuracies: tuple[float, ...]
    """One a seed."""
    intervals: dict[str, Interval]
    """Metric to its mean over seeds with bounds, of metrics that are functions of the confusion
    matrix: accuracy, balanced_accuracy, macro_f1 ..."""
    means: dict[str, float]
    """Every metric's mean over seeds."""
    recall: tuple[float | None, ...]
    """Per class, mean over seeds; None where the class has no test patch."""
    confusion: tuple[tuple[int, ...], ...]
    """Counts summed over seeds; rows are the true classes."""
    resolution: int
    """Side in px of the information that the modality holds; 0 for vectors."""
    um_per_px: float | None
    """Magnification of that information."""
    head: bool
    """Whether the encoder's own head answered, not a probe."""
    rising: bool | None
    """Whether the mean learning curve still rose at the end; None where none was drawn."""
    not_above: str
    """A floor, majority or random encoder, that it is not above; empty where there is none. Such an
    arm did not train, and is no opponent: its contrasts get no verdict."""

    @property
    def accuracy(self) -> Interval:
        return self.intervals["accuracy"]


@dataclass(frozen=True, kw_only=True)
class Contrast(ContrastTest):
    """Two conditions on the same modality and task; `difference` is a minus b."""

    name: str
    """Such as `asymmetric - symmetric, both shared`."""
    a: Condition
    b: Condition
    mcnemar: tuple[McNemar, ...]
    """Seed by seed, where both have it."""


@dataclass(frozen=True)
class FloorNotExceeded:
    """A modality and task on which no arm is above the highest floor."""

    modality: str
    task: str
    floor: str
    floor_accuracy: float
    arm: str
    arm_accuracy: float


@dataclass(frozen=True)
class RunRecord:
    """A run that the results rest on."""

    name: str
    """Of its folder."""
    seed: int
    options: dict[str, Any]
    """Flat (`config.to_flat`)."""
    facts: dict[str, Any]
    """What its `run.json` says beside: seconds, steps, device, versions ..."""


@dataclass(frozen=True)
class Data:
    """The patches that were asked."""

    title: str
    """Of the store's datasheet."""
    side: int
    um_per_px: float | None
    hash: str
    patches: dict[str, int]
    """Split to number; of test, those that a task asks."""
    classes: dict[str, dict[str, tuple[int, int]]]
    """Task to class to numbers of training and test patches."""
    groups: int | None
    """Groups (patients or slides) of those test patches; None where they are not known."""
    caveats: list[str]


@dataclass(frozen=True, eq=False)
class Results:
    """Everything that tables, figures and a reader's questions are answered from."""

    config: StudyConfig
    table: pd.DataFrame
    """Tidy: `COLUMNS`, a line a run (empty for floors), branch, task and metric."""
    curves: pd.DataFrame
    """`CURVE_COLUMNS`: a line a point."""
    summaries: list[Summary]
    contrasts: list[Contrast]
    floors_not_exceeded: list[FloorNotExceeded]
    data: Data
    runs: list[RunRecord]
    caveats: list[str]
    """Sentences that must stand wherever these results stand."""
    version: str = morefromless.__version__

    def __repr__(self) -> str:
        tasks = ", ".join(self.config.tasks)
        return (
            f"Results({len(self.summaries)} conditions asked {tasks}: {len(self.runs)} runs on "
            f"{self.data.title})"
        )

    def to_frame(self) -> pd.DataFrame:
        """The tidy table."""
        return self.table.copy()

    def select(self, where: Callable[[Condition], bool]) -> list[Summary]:
        """The summaries of some conditions, in the table's order."""
        return [summary for summary in self.summaries if where(summary.condition)]

    def name(self, condition: Condition, title: Callable[[str], str] = str) -> str:
        """What tells a condition from the others of its modality and task: `asymmetric, shared`,
        what it minimised where that differed, and its partner where it had several. `title` is how
        a modality is called."""
        config = self.config
        learnt = config.tasks if condition.arm == "supervised" else config.objectives
        name = condition.method if len(learnt) > 1 else condition.title
        return name + self.with_partner(condition, title)

    def with_partner(self, condition: Condition, title: Callable[[str], str] = str) -> str:
        """`, with downsample:7`, where encoders of this arm and modality had several partners; else
        empty. `title` is how a modality is called."""
        same = (condition.title, condition.modality)
        conditions = [s.condition for s in self.summaries]
        partners = {c.partner for c in conditions if (c.title, c.modality) == same}
        return f", with {title(condition.partner)}" if len(partners) > 1 else ""

    def save(self, folder: Path | str) -> list[Path]:
        """`results.csv`, `curves.csv` (where there are curves; another study's goes) and
        `results.json` in `folder`."""
        folder = Path(folder)
        paths, curves = [folder / "results.csv"], folder / "curves.csv"
        files.write_csv(paths[0], self.table)
        if len(self.curves):
            paths.append(curves)
            files.write_csv(curves, self.curves)
        else:
            curves.unlink(missing_ok=True)
        rest = {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if field.name not in ("config", "table", "curves")
        }
        paths.append(folder / "results.json")
        files.write_json(paths[-1], {"config": to_flat(self.config), **rest})
        return paths

    @classmethod
    def load(cls, folder: Path | str) -> "Results":
        """What `save` wrote. Raises `ConfigError` where there is none, or it is damaged."""
        folder = Path(folder)
        path = folder / "results.json"
        try:
            rest = read_json(path, dict)
            config = from_flat(StudyConfig, rest.pop("config"), str(path))
            _restore_undefined(rest["summaries"])
            hints = cls.__annotations__
            typed = {name: msgspec.convert(value, hints[name]) for name, value in rest.items()}
            empty = {"value": [""]}  # of an undefined metric; elsewhere it is a word like others
            table = pd.read_csv(folder / "results.csv", keep_default_na=False, na_values=empty)
            curves = pd.DataFrame(columns=list(CURVE_COLUMNS))
            if (folder / "curves.csv").is_file():
                curves = pd.read_csv(folder / "curves.csv", keep_default_na=False)
            return cls(config=config, table=table, curves=curves, **typed)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise ConfigError(
                f"{folder} holds no results ({Path(error.filename).name} is missing); "
                f"{unwritten(folder)}."
            ) from error
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(
                f"{path} is damaged ({error}); run the command that wrote it again."
            ) from error


def _restore_undefined(summaries: list[dict[str, Any]]) -> None:
    """Metrics that are not defined, which JSON has as null, become NaN again."""
    for summary in summaries:
        for values in (summary["means"], *summary["intervals"].values()):
            values |= {name: math.nan for name, value in values.items() if value is None}
