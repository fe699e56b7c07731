"""`mfl compare`: does training with the privileged modality make a better encoder, and by how
much?"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from tqdm import tqdm

from morefromless import objectives
from morefromless.branches import check_encoder, plans
from morefromless.comparison.execute import execute
from morefromless.comparison.floors import FloorRow, Unbeaten, floors, unbeaten
from morefromless.comparison.plan import Planned, plan
from morefromless.comparison.results import Contrast, Row, contrasts, evaluate_all, rows
from morefromless.data.store import Store
from morefromless.errors import ConfigError
from morefromless.labelling import labelled
from morefromless.objectives import Objective
from morefromless.options import CompareOptions, PretrainOptions
from morefromless.pairs import modality, preset
from morefromless.specs import build
from morefromless.training.feed import check_batch
from morefromless.training.pretrain import check, trained_patches


@dataclass(frozen=True)
class Comparison:
    """Everything that the table, the figures and a reader's questions are answered from."""

    options: CompareOptions
    planned: list[Planned]
    rows: list[Row]
    contrasts: list[Contrast]
    floors: list[FloorRow]
    unbeaten: list[Unbeaten]
    classes: tuple[str, ...]
    patches: dict[str, int]
    """Split to number of patches."""
    caveats: list[str]
    seconds: float
    """Of training, over all runs."""


def compare(options: CompareOptions) -> Comparison:
    """Train what is not done, evaluate every branch, and contrast the arms.

    Raises `ConfigError` or `DataError` before anything is trained where the options or the store
    cannot work.
    """
    prepared = prepare(options)
    execute(prepared.planned, options.jobs)
    return prepared.finish()


@dataclass(frozen=True, eq=False)
class Prepared:
    """A comparison that can work: its options and its store were checked, nothing is trained."""

    options: CompareOptions
    stored: Store
    store: Store
    """The same, labelled with the task."""
    planned: list[Planned]
    caveats: list[str]

    def finish(self) -> Comparison:
        """Evaluate the runs, which are done, and contrast the arms; what was evaluated before is
        read back."""
        options, store, planned = self.options, self.store, self.planned
        device = "cuda" if options.device != "cpu" and torch.cuda.is_available() else "cpu"
        evaluated = list(
            tqdm(
                evaluate_all(planned, self.stored, options, device),
                total=len(planned),
                desc="probes",
                unit="run",
                leave=False,
                dynamic_ncols=True,
            )
        )
        reached = rows(evaluated, store)
        under = floors(store, (*options.primary, options.privileged), options.task, options, device)
        return Comparison(
            options=options,
            planned=planned,
            rows=reached,
            contrasts=contrasts(evaluated, store, under),
            floors=under,
            classes=store.classes,
            patches={s: len(store.indices(s)) for s in ("train", "val", "test")},
            unbeaten=unbeaten(under, ((r.modality, r.title, r.accuracy) for r in reached)),
            caveats=self.caveats,
            seconds=sum(float(one.run.record["seconds"]) for one in planned),
        )


def prepare(options: CompareOptions) -> Prepared:
    """Check everything that can be known before training. Raises `ConfigError`, `DataError`."""
    stored = Store.open(options.store)
    store = labelled(stored, options.task)
    if not len(store.indices("test")):
        raise ConfigError(f"{store.path} has no test patches; ingest it with --split random.")
    for spec in (*options.primary, options.privileged):
        modality(spec).check(store)
    objective = build(options.objective, objectives, Objective)
    seen = (*options.primary, *([options.privileged] if options.dense_arms else []))
    check_tested(store, seen)
    incomplete = [
        said
        for primary in options.primary
        if (said := pairs_there(store, (primary, options.privileged), options.batch))
    ]
    if not _tested(store, options.privileged):
        incomplete.append(f"No test patch has {options.privileged}, so its encoders are not asked.")
    preset(options.views)
    planned = plan(options, store.hash)
    _check(planned, objective, store)
    return Prepared(options, stored, store, planned, [*store.caveats, *incomplete])


def check_tested(store: Store, seen: Sequence[str]) -> None:
    """Raise `ConfigError` where no test patch has a modality that has to be asked."""
    for one in seen:
        if not _tested(store, one):
            raise ConfigError(
                f"No test patch of {store.path} has {one}, so its encoders cannot be asked."
            )


def _tested(store: Store, seen: str) -> bool:
    return bool(len(store.having([modality(seen).array]).indices("test")))


def pairs_there(store: Store, seen: tuple[str, str], batch: int) -> str | None:
    """What is to be said of a pair of modalities that not all training patches have; None else.

    Raises `ConfigError` where those that have both do not fill one batch.
    """
    everything = len(store.indices("train"))
    paired = len(store.having([modality(one).array for one in seen]).indices("train"))
    check_batch(paired, batch)
    if paired == everything:
        return None
    return (
        f"Pairs of {seen[0]} and {seen[1]} are those of {paired:,} of {everything:,} training "
        "patches, which have both; arms of one modality train on all that have it."
    )


def _check(planned: Sequence[Planned], objective: Objective, store: Store) -> None:
    """Raise `ConfigError` where a run that is wanted would fail at its first step.

    Runs that differ in their seed alone are checked once.
    """
    for one in {replace(one.options, seed=0, out=Path()): one for one in planned}.values():
        options = one.options
        check_batch(trained_patches(options, store), options.batch)
        if isinstance(options, PretrainOptions):
            check(plans(options), objective, options)
        else:
            check_encoder(options.encoder, modality(options.primary).shape(options.size))
