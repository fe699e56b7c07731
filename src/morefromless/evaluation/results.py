"""The results of a study: a tidy table, and the statistics computed from it.

A study evaluates frozen encoders on test patches. All tables, figures and report pages are
generated from `Results`. It is saved in a folder as three files:

- `results.csv`: the tidy table, one line per run, branch, task and metric (`Results.table`)
- `curves.csv`: learning curves, if they were recorded (`Results.curves`)
- `results.json`: everything else: options, summaries over seeds, contrasts, counts, caveats
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
from morefromless.runs import missing_results_remedy

ENCODER_FIELDS = ("arm", "sharing", "objective", "modality", "partner")
"""Fields of a condition that identify its encoders, regardless of the task."""

COLUMNS = ("run", *ENCODER_FIELDS, "task", "encoder", "seed", "metric", "value")
"""Columns of the tidy table, in order."""

CURVE_COLUMNS = ("run", *ENCODER_FIELDS, "seed", "step", "accuracy")
"""Columns of the table of learning curves."""

FLOORS = ("majority", "mean-rgb", "colour-histogram", "random encoder")
"""Arms without representation learning."""


@dataclass(frozen=True)
class Condition:
    """One row of a table: a task, and encoders that differ only in their seed."""

    arm: str
    """asymmetric, symmetric, trident, distillation, supervised, fine-tuned, a floor (`FLOORS`), or
    `reference`: a published encoder, which the study did not train."""
    sharing: str
    """shared or independent; empty if there are no branches."""
    objective: str
    """The training objective or, for supervised arms, the task that they were trained on; empty for
    floors and references."""
    modality: str
    """The encoder's input modality."""
    partner: str
    """The other modality in training, for asymmetric, TriDeNT and distillation arms, and for
    encoders that were asymmetric before fine-tuning; else empty."""
    task: str
    """The task of the evaluation."""
    encoder: str = ""
    """For a reference, its encoder, such as `resnet18 at 224 px`; empty for the study's encoder."""

    @property
    def floor(self) -> bool:
        return self.arm in FLOORS

    @property
    def reference(self) -> bool:
        return self.arm == "reference"

    @property
    def trained(self) -> bool:
        """Whether the study trained this arm."""
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
        """What distinguishes arms of one kind: the sharing, the objective of distillation, the
        start of a fine-tuned encoder with its sharing, or the encoder of a reference."""
        if self.arm == "fine-tuned":
            return f"{'asymmetric' if self.partner else 'symmetric'}, {self.sharing}"
        return self.encoder or (self.objective if self.arm == "distillation" else self.sharing)

    @property
    def method(self) -> str:
        """An arm and its objective: `vicreg asymmetric, shared`, `supervised on tissue`."""
        if self.arm == "supervised":
            return f"supervised on {self.objective}"
        if self.floor or self.reference or self.arm == "distillation":
            return self.title
        return f"{self.objective} {self.title}"


@dataclass(frozen=True)
class Summary:
    """Statistics of one condition over its seeds."""

    condition: Condition
    accuracies: tuple[float, ...]
    """One per seed."""
    intervals: dict[str, Interval]
    """Mean over seeds with its confidence interval, by metric, for functions of the confusion
    matrix: accuracy, balanced_accuracy, macro_f1 ..."""
    means: dict[str, float]
    """Mean over seeds of every metric."""
    recall: tuple[float | None, ...]
    """Per class, mean over seeds; None if the class has no test patch."""
    confusion: tuple[tuple[int, ...], ...]
    """Counts summed over seeds; rows are the true classes."""
    resolution: int
    """Effective side in px of the modality's images; 0 for vectors."""
    um_per_px: float | None
    """Pixel size in µm at that resolution, or None if not known."""
    head: bool
    """Whether the predictions are from the encoder's own head, not from a probe."""
    rising: bool | None
    """Whether the mean learning curve still rose at the end; None if it has fewer than 8 points."""
    not_above: str
    """The floor, majority or random encoder, that the arm is not above; else empty. Such an arm did
    not train, so its contrasts have no verdict."""

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
    """One test per seed that both arms have."""


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
    """A run that the results were computed from."""

    name: str
    """Name of its folder."""
    seed: int
    options: dict[str, Any]
    """Flat (`config.to_flat`)."""
    facts: dict[str, Any]
    """Further contents of its `run.json`: seconds, steps, device, versions ..."""


@dataclass(frozen=True)
class Data:
    """The data of the evaluation."""

    title: str
    """Title of the store's datasheet."""
    side: int
    um_per_px: float | None
    hash: str
    patches: dict[str, int]
    """Number of patches per split; for test, those that have a label of any task."""
    classes: dict[str, dict[str, tuple[int, int]]]
    """Numbers of training and test patches, by task and class."""
    groups: int | None
    """Number of groups (patients or slides) of these test patches; None if not known."""
    caveats: list[str]


@dataclass(frozen=True, eq=False)
class Results:
    """All results of a study, from which tables, figures and reports are generated."""

    config: StudyConfig
    table: pd.DataFrame
    """Tidy table of `COLUMNS`: one line per run (empty for floors), branch, task and metric."""
    curves: pd.DataFrame
    """Table of `CURVE_COLUMNS`, one line per point."""
    summaries: list[Summary]
    contrasts: list[Contrast]
    floors_not_exceeded: list[FloorNotExceeded]
    data: Data
    runs: list[RunRecord]
    caveats: list[str]
    """Sentences that must be shown with these results."""
    version: str = morefromless.__version__

    def __repr__(self) -> str:
        tasks = ", ".join(self.config.tasks)
        return (
            f"Results({len(self.summaries)} conditions evaluated on {tasks}: {len(self.runs)} runs "
            f"on {self.data.title})"
        )

    def to_frame(self) -> pd.DataFrame:
        """Return a copy of the tidy table."""
        return self.table.copy()

    def select(self, where: Callable[[Condition], bool]) -> list[Summary]:
        """Return the summaries of the conditions that match, in the order of the table."""
        return [summary for summary in self.summaries if where(summary.condition)]

    def name(self, condition: Condition, title: Callable[[str], str] = str) -> str:
        """Name of a condition among those of its modality and task, such as `asymmetric, shared`.

        It includes the objective if the study has several, and the partner if the arm has several.
        `title` maps a modality to its name."""
        config = self.config
        training_targets = config.tasks if condition.arm == "supervised" else config.objectives
        name = condition.method if len(training_targets) > 1 else condition.title
        return name + self.with_partner(condition, title)

    def with_partner(self, condition: Condition, title: Callable[[str], str] = str) -> str:
        """`, with downsample:7` if encoders of this arm and modality have several partners; else
        empty. `title` maps a modality to its name."""
        same = (condition.title, condition.modality)
        conditions = [s.condition for s in self.summaries]
        partners = {c.partner for c in conditions if (c.title, c.modality) == same}
        return f", with {title(condition.partner)}" if len(partners) > 1 else ""

    def save(self, folder: Path | str) -> list[Path]:
        """Write `results.csv`, `curves.csv` and `results.json` to `folder`; return their paths.

        Without learning curves, an existing `curves.csv` is removed."""
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
        """Load what `save` wrote. Raises `ConfigError` if it is missing or damaged."""
        folder = Path(folder)
        path = folder / "results.json"
        try:
            rest = read_json(path, dict)
            config = from_flat(StudyConfig, rest.pop("config"), str(path))
            _restore_undefined(rest["summaries"])
            hints = cls.__annotations__
            typed = {name: msgspec.convert(value, hints[name]) for name, value in rest.items()}
            empty = {"value": [""]}  # an undefined metric; in other columns it is text
            table = pd.read_csv(folder / "results.csv", keep_default_na=False, na_values=empty)
            curves = pd.DataFrame(columns=list(CURVE_COLUMNS))
            if (folder / "curves.csv").is_file():
                curves = pd.read_csv(folder / "curves.csv", keep_default_na=False)
            return cls(config=config, table=table, curves=curves, **typed)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise ConfigError(
                f"{folder} contains no results ({Path(error.filename).name} is missing); "
                f"{missing_results_remedy(folder)}."
            ) from error
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(
                f"{path} is damaged ({error}); run the command that wrote it again."
            ) from error


def _restore_undefined(summaries: list[dict[str, Any]]) -> None:
    """Convert undefined metrics, which are null in JSON, back to NaN."""
    for summary in summaries:
        for values in (summary["means"], *summary["intervals"].values()):
            values |= {name: math.nan for name, value in values.items() if value is None}
