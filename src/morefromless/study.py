"""A study: arms x modalities x objectives x seeds x tasks, resolved once, then evaluated.

study = Study.of(config)            # raises every error here, before anything is trained
run_all(study.runs, config.jobs)    # each run resumes automatically
results = study.evaluate()          # frozen encoders -> metrics -> one tidy table
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain, product
from pathlib import Path

import numpy as np
import numpy.typing as npt

from morefromless import objectives
from morefromless.arms import (
    availability_caveats,
    condition_of,
    labelled_stores,
    planned_runs,
    supervised_caveats,
)
from morefromless.canonical import canonical
from morefromless.config import RunConfig, StudyConfig
from morefromless.data.store import Store
from morefromless.devices import resolve_device
from morefromless.evaluation.cohort import Cohort
from morefromless.evaluation.conclude import conclude
from morefromless.evaluation.evaluate import Evaluation, evaluate_encoder
from morefromless.evaluation.floors import COLOUR_FLOORS, floor_probabilities
from morefromless.evaluation.frozen import FrozenEncoder, random_encoder
from morefromless.evaluation.loading import load_encoders
from morefromless.evaluation.references import (
    check_references,
    load_references,
    supports_references,
)
from morefromless.evaluation.results import Condition, Results
from morefromless.identity import file_name
from morefromless.objectives import Objective
from morefromless.pairs import build_modality, build_views
from morefromless.probes import build_probe
from morefromless.progress import Bar
from morefromless.runner import run_all
from morefromless.runs import Run
from morefromless.specs import build
from morefromless.tasks import build_task
from morefromless.torch_state import preserved_torch_state
from morefromless.training.checks import check, check_views, count_training_patches
from morefromless.training.steps import batch_size, check_batch

MAX_VERIFIED_BYTES = 2**30
"""Files of a store up to this many bytes are hashed and verified before the store is used."""


@dataclass(frozen=True, eq=False)
class Study:
    """A study whose options and store were checked."""

    config: StudyConfig
    store: Store
    runs: list[RunConfig]
    """The runs to train, each with its folder (`out`). Seeds vary slowest, so that the first runs
    to finish cover every arm."""
    caveats: list[str]
    """Sentences that must be shown with every result of the study."""
    trust: bool = True
    """Whether the runs may name classes from outside the package (`Run`)."""

    @classmethod
    @preserved_torch_state()
    def of(cls, config: StudyConfig, store: Store | None = None, trust: bool = True) -> "Study":
        """Resolve and check everything that can be known before training.

        Raises `ConfigError` or `DataError` if the options or the store cannot work.
        """
        config, store = canonical(config), store or Store.open(config.store)
        store.verify(MAX_VERIFIED_BYTES)
        for spec in config.tasks:
            store.select(task=build_task(spec))
        for spec in config.modalities:
            build_modality(spec).check(store)
        for objective in (*config.objectives, *config.distillation):
            build(objective, objectives, Objective)
        build_views(config.train.views)
        build_probe(config.probe)
        check_references(config)
        check_batch(len(store.indices("train")), config.train.batch)
        caveats = [*store.caveats, *availability_caveats(config, store)]
        runs = planned_runs(config, store)
        # Runs that differ only in their seed are checked once.
        counts = {}
        for run in {replace(run, seed=0, out=Path()): run for run in runs}.values():
            check_views(run, store)
            patches = count_training_patches(run, store)
            check_batch(patches, batch_size(run, patches), run.arm)
            check(run)
            counts[run] = patches
        caveats += supervised_caveats(config, counts)
        return cls(config, store, runs, caveats, trust)

    def __repr__(self) -> str:
        done = sum(Run(run.out).done for run in self.runs)
        return f"Study({str(self.store.path)!r}: {len(self.runs)} runs, {done} done)"

    @property
    def done(self) -> bool:
        """Whether every run is trained."""
        return all(Run(run.out).done for run in self.runs)

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities of the encoders that the runs train, the privileged one last."""
        trained = {spec for run in self.runs for spec in run.arm.modalities.values()}
        return tuple(spec for spec in self.config.modalities if spec in trained)

    def evaluate(self, progress: bool = True) -> Results:
        """Evaluate every encoder on every task; predictions that were computed before are loaded.

        Raises `ConfigError` if a run is not done.
        """
        evaluations = self.evaluations(progress=progress)
        return conclude(self.config, self.store, self.runs, evaluations, self.caveats)

    @preserved_torch_state()
    def evaluations(
        self, cohort: Cohort | None = None, *, progress: bool = True
    ) -> list[Evaluation]:
        """Return predictions of encoders, references and floors on the test patches, or on a
        cohort's."""
        bar = Bar(self.runs, desc="evaluate", unit="run", disable=not progress)
        evaluations = [*chain.from_iterable(self._evaluate_run(run, cohort) for run in bar)]
        evaluations += self._references(progress, cohort)
        evaluations += self._floors(progress, cohort)
        return evaluations

    def _evaluate_run(self, run: RunConfig, cohort: Cohort | None) -> Iterator[Evaluation]:
        for name, frozen in load_encoders(Run(run.out, self.trust)).items():
            if not self._is_evaluated(frozen.modality_spec, cohort):
                continue
            for task in self.config.tasks:
                yield Evaluation(
                    condition_of(run.arm, name, task),
                    run.seed,
                    self._probabilities(frozen, task, run.seed, cohort),
                    run=run.out.name,
                    branch=name,
                    head=frozen.uses_own_head(task),
                    size=frozen.size,
                )

    def _references(self, progress: bool, cohort: Cohort | None) -> Iterator[Evaluation]:
        """Evaluate published encoders on every image modality that is evaluated."""
        config, folder = self.config, self.config.runs_folder.parent / "references"
        images = [spec for spec in self.modalities if supports_references(spec)]
        evaluated = [spec for spec in images if self._is_evaluated(spec, cohort)]
        bar = Bar(load_references(config), desc="references", unit="encoder", disable=not progress)
        for reference in bar:
            label = f"features of {reference.title}" if progress else None
            for frozen in reference.encoders(evaluated, folder):
                for task, seed in product(config.tasks, self._untrained_seeds):
                    condition = _reference(reference.title, frozen.modality_spec, task)
                    probabilities = self._probabilities(frozen, task, seed, cohort, label)
                    yield Evaluation(condition, seed, probabilities, size=frozen.size)

    def _floors(self, progress: bool, cohort: Cohort | None) -> Iterator[Evaluation]:
        """Evaluate the floors, which need no training, on every modality of the test patches."""
        config = self.config
        folder = config.runs_folder.parent / "floors"
        questions = [*product(config.tasks, self.modalities)]
        for task, spec in Bar(questions, desc="floors", unit="modality", disable=not progress):
            if not self._is_evaluated(spec, cohort):
                continue
            modality = build_modality(spec)
            store = self.store.select(modality, task=build_task(task))
            other = None
            if cohort:
                other = cohort.store.select(modality, task=cohort.tasks[task], check=False)
            cache = folder if cohort is None else cohort.folder
            names = ("majority", *(() if modality.vector else COLOUR_FLOORS))
            for name, seed in product(names, self._untrained_seeds):
                probabilities = floor_probabilities(
                    name, store, spec, task, config.probe.labels, seed, cache, other
                )
                yield Evaluation(_floor(name, spec, task), seed, probabilities)
            encoder, size = config.encoder_of(spec), config.train.size
            for seed in config.run_seeds:
                stem = f"random-{file_name(spec)}-{file_name(encoder)}-{size}-s{seed}"
                frozen = random_encoder(encoder, spec, size, seed, folder / stem)
                probabilities = self._probabilities(frozen, task, seed, cohort)
                yield Evaluation(_floor("random encoder", spec, task), seed, probabilities)

    @property
    def _untrained_seeds(self) -> range:
        """Seeds for untrained encoders and floors. They draw the share of labels; with all labels,
        one seed."""
        return self.config.run_seeds if self.config.probe.labels < 1 else range(1)

    def _probabilities(
        self,
        frozen: FrozenEncoder,
        task: str,
        seed: int,
        cohort: Cohort | None,
        label: str | None = None,
    ) -> npt.NDArray[np.float32]:
        """Return an encoder's class probabilities for the test patches, or for those of a
        cohort."""
        device = resolve_device(self.config.machine.device)
        answer = evaluate_encoder(frozen, self.store, self.config.probe, task, seed, device, label)
        return answer.probabilities if cohort is None else cohort.evaluate(answer, device)

    def _is_evaluated(self, spec: str, cohort: Cohort | None) -> bool:
        if cohort and spec in cohort.unavailable:
            return False
        training = labelled_stores(self.store, spec, map(build_task, self.config.tasks))
        test = training
        if cohort:
            test = labelled_stores(cohort.store, spec, cohort.tasks.values())
        return all(store.can_train_probe for store in training) and all(
            store.has_test_patches for store in test
        )


def compare(config: StudyConfig) -> Results:
    """Train every arm and evaluate every encoder; finished runs are skipped.

    Raises `ConfigError` or `DataError` before anything is trained, if the study cannot work.
    """
    study = Study.of(config)
    run_all(study.runs, config.jobs)
    return study.evaluate()


def _reference(title: str, spec: str, task: str) -> Condition:
    return Condition("reference", "", "", spec, "", task, title)


def _floor(name: str, spec: str, task: str) -> Condition:
    return Condition(name, "", "", spec, "", task)
