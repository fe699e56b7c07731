"""`mfl transfer`: Table 2's protocol. Every encoder of two modalities, asked every task, frozen."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm

from morefromless import objectives
from morefromless.branches import check_encoder
from morefromless.comparison.compare import check_tested, pairs_there
from morefromless.comparison.execute import execute
from morefromless.comparison.floors import FloorRow, Unbeaten, floors, unbeaten
from morefromless.comparison.grid import GridRun, Method, grid, methods
from morefromless.comparison.results import ContrastTest, contrast_tests, curve_rises, untrained
from morefromless.data.store import Store
from morefromless.errors import ConfigError
from morefromless.evaluation.evaluate import Result, evaluate
from morefromless.evaluation.intervals import Interval, bootstrap
from morefromless.evaluation.metrics import accuracy, balanced_accuracy
from morefromless.labelling import labelled
from morefromless.objectives import Objective
from morefromless.options import TransferOptions
from morefromless.pairs import modality, preset
from morefromless.specs import build


@dataclass(frozen=True)
class Cell:
    """What one method's encoders of one modality reached on one task."""

    task: str
    modality: str
    method: Method
    accuracies: tuple[float, ...]
    """One a seed."""
    accuracy: Interval
    balanced_accuracy: Interval
    head: bool
    """Whether the encoder's own head answered, not a probe."""
    rising: bool | None
    """Whether a seed's curve was still rising at the end; None where none was drawn."""


@dataclass(frozen=True, kw_only=True)
class TransferContrast(ContrastTest):
    """Two methods on one task and modality."""

    task: str
    modality: str
    a: Method
    b: Method


@dataclass(frozen=True)
class Transfer:
    """Everything that the table and a reader's questions are answered from."""

    options: TransferOptions
    runs: list[GridRun]
    cells: list[Cell]
    contrasts: list[TransferContrast]
    floors: dict[str, list[FloorRow]]
    """By task."""
    unbeaten: list[Unbeaten]
    classes: dict[str, dict[str, tuple[int, int]]]
    """Task to class to numbers of training and test patches."""
    caveats: list[str]
    seconds: float
    """Of training, over all runs."""


def transfer(options: TransferOptions) -> Transfer:
    """Train what is not done, ask every encoder every task, and contrast the methods.

    Raises `ConfigError` or `DataError` before anything is trained where the options or the store
    cannot work.
    """
    prepared = prepare(options)
    execute(prepared.planned, options.jobs)
    return prepared.finish()


@dataclass(frozen=True, eq=False)
class Prepared:
    """A transfer that can work: its options and its store were checked, nothing is trained."""

    options: TransferOptions
    stored: Store
    stores: dict[str, Store]
    """The same, labelled with each task."""
    planned: list[GridRun]
    caveats: list[str]

    def finish(self) -> Transfer:
        """Ask every encoder, which is trained, every task; what was asked before is read back."""
        options, runs = self.options, self.planned
        device = "cuda" if options.device != "cpu" and torch.cuda.is_available() else "cpu"
        answers = _answers(runs, self.stored, options, device)
        cells = [_cell(key, found, self.stores[key[0]]) for key, found in answers.items()]
        under = {
            task: floors(store, options.modalities, task, options, device)
            for task, store in self.stores.items()
        }
        return Transfer(
            options=options,
            runs=runs,
            cells=cells,
            contrasts=_contrasts(answers, self.stores, under),
            floors=under,
            classes={task: _counts(store) for task, store in self.stores.items()},
            unbeaten=[
                one
                for task, rows in under.items()
                for one in unbeaten(
                    rows,
                    ((c.modality, c.method.title, c.accuracy) for c in cells if c.task == task),
                    task,
                )
            ],
            caveats=self.caveats,
            seconds=sum(float(one.run.record["seconds"]) for one in runs),
        )


def prepare(options: TransferOptions) -> Prepared:
    """Check everything that can be known before training. Raises `ConfigError`, `DataError`."""
    stored = Store.open(options.store)
    if not len(stored.indices("test")):
        raise ConfigError(f"{stored.path} has no test patches; ingest it with --split random.")
    stores = {task: labelled(stored, task) for task in options.tasks}
    for spec in options.modalities:
        seen = modality(spec)
        seen.check(stored)
        check_encoder(options.encoder, seen.shape(options.size))
    for objective in options.objectives:
        build(objective, objectives, Objective)
    check_tested(stored, options.modalities)
    preset(options.views)
    incomplete = pairs_there(stored, options.modalities, options.batch)
    caveats = [*stored.caveats, *([incomplete] if incomplete else [])]
    return Prepared(options, stored, stores, grid(options, stored.hash), caveats)


Key = tuple[str, str, Method]
"""Task, modality, method: a cell of the table."""
Answers = Mapping[Key, list[tuple[GridRun, Result]]]


def _answers(
    runs: Sequence[GridRun], store: Store, options: TransferOptions, device: str
) -> Answers:
    """Every encoder's answers, in the order of the table; what was evaluated is read back."""
    found: dict[Key, list[tuple[GridRun, Result]]] = {
        (task, seen, method): []
        for task in options.tasks
        for seen in options.modalities
        for method in methods(options)
    }
    bar = tqdm(runs, desc="probes", unit="run", leave=False, dynamic_ncols=True)
    for one in bar:
        for task in options.tasks:
            results = evaluate(one.run, store, options.probe, device, task=task)
            by_branch = {result.branch: result for result in results}
            for seen in one.modalities:
                found[task, seen, one.method].append((one, by_branch[one.branch(seen)]))
    return found


def _cell(key: Key, found: list[tuple[GridRun, Result]], store: Store) -> Cell:
    task, seen, method = key
    store = store.having([modality(seen).array])
    predictions = np.stack([result.probabilities.argmax(1) for _, result in found])
    truth = store.labels[store.indices("test")]
    shared = {"classes": len(store.classes), "groups": store.groups("test")}
    intervals = [
        bootstrap(statistic, predictions, truth, **shared)  # type: ignore[arg-type]
        for statistic in (accuracy, balanced_accuracy)
    ]
    return Cell(
        task=task,
        modality=seen,
        method=method,
        accuracies=tuple(result.scores.accuracy for _, result in found),
        accuracy=intervals[0],
        balanced_accuracy=intervals[1],
        head=method.kind == "supervised" and method.learnt == task,
        rising=curve_rises([(one.run, one.branch(seen)) for one, _ in found]),
    )


def _contrasts(
    answers: Answers, stores: Mapping[str, Store], floors: Mapping[str, Sequence[FloorRow]]
) -> list[TransferContrast]:
    asked = [
        (task, seen, a, b)
        for task, seen in dict.fromkeys((task, seen) for task, seen, _ in answers)
        for a, b in _questions([m for t, s, m in answers if (t, s) == (task, seen)])
    ]

    having = {(t, s): stores[t].having([modality(s).array]) for t, s, _, _ in asked}

    def correct(task: str, seen: str, method: Method) -> npt.NDArray[np.bool_]:
        own = having[task, seen]
        truth = own.labels[own.indices("test")]
        found = answers[task, seen, method]
        return np.stack([result.probabilities.argmax(1) == truth for _, result in found])

    sides = [
        (correct(t, s, a), correct(t, s, b), having[t, s].groups("test")) for t, s, a, b in asked
    ]
    weak = [
        untrained(
            [(one.title, one.kind, right) for one, right in ((a, of_a), (b, of_b))],
            seen,
            floors[task],
        )
        for (task, seen, a, b), (of_a, of_b, _) in zip(asked, sides, strict=True)
    ]
    return [
        TransferContrast(**vars(answer), task=task, modality=seen, a=a, b=b)
        for (task, seen, a, b), answer in zip(asked, contrast_tests(sides, weak), strict=True)
    ]


def _questions(found: Sequence[Method]) -> Iterator[tuple[Method, Method]]:
    """Asymmetric against symmetric: like with like, then the paper's own headline, which also
    compares independent with shared weights."""
    known = set(found)
    for objective in dict.fromkeys(m.learnt for m in found if m.kind != "supervised"):
        asymmetric = [m for m in found if m.kind == "asymmetric" and m.learnt == objective]
        for method in asymmetric:
            twin = Method("symmetric", objective, method.sharing)
            if twin in known:
                yield method, twin
        headline = (
            Method("asymmetric", objective, "independent"),
            Method("symmetric", objective, "shared"),
        )
        if known.issuperset(headline):
            yield headline


def _counts(store: Store) -> dict[str, tuple[int, int]]:
    train, test = (
        np.bincount(store.labels[store.indices(split)], minlength=len(store.classes))
        for split in ("train", "test")
    )
    return {name: (int(train[k]), int(test[k])) for k, name in enumerate(store.classes)}
