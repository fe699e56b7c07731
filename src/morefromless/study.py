"""A study: arms x modalities x objectives x seeds x tasks, resolved once, then asked.

study = Study.of(config)            # every refusal here, before anything is trained
run_all(study.runs, config.jobs)    # each run resumes by itself
results = study.evaluate()          # frozen encoders -> metrics -> one tidy table
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain, product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from morefromless import objectives
from morefromless.canonical import canonical
from morefromless.config import Arm, Pairing, RunConfig, StudyConfig
from morefromless.data.store import Store
from morefromless.devices import resolve_device
from morefromless.errors import ConfigError
from morefromless.evaluation.cohort import Cohort
from morefromless.evaluation.conclude import conclude
from morefromless.evaluation.evaluate import Evaluation, answer
from morefromless.evaluation.floors import COLOUR_FLOORS, floor_probabilities
from morefromless.evaluation.frozen import FrozenEncoder, random_encoder
from morefromless.evaluation.loading import load_encoders
from morefromless.evaluation.references import check_references, load_references, takes_references
from morefromless.evaluation.results import Condition, Results
from morefromless.identity import file_name, with_run_folder
from morefromless.objectives import Objective
from morefromless.pairs import build_modality, build_views
from morefromless.probes import build_probe
from morefromless.progress import Bar
from morefromless.runner import run_all
from morefromless.runs import Run
from morefromless.specs import build
from morefromless.tasks import build_task
from morefromless.training.checks import check, check_views, count_training_patches
from morefromless.training.feed import check_batch

VERIFIED = 2**30
"""Bytes up to which a store's files are hashed before anything rests on them."""


@dataclass(frozen=True, eq=False)
class Study:
    """A study that can work: its options and its store were checked."""

    config: StudyConfig
    store: Store
    runs: list[RunConfig]
    """What is to be trained, each in its folder (`out`). Seeds vary slowest, so that the first runs
    to finish are of every arm."""
    caveats: list[str]
    """Sentences that must stand wherever its results stand."""

    @classmethod
    def of(cls, config: StudyConfig, store: Store | None = None) -> "Study":
        """Resolve and check everything that can be known before training.

        Raises `ConfigError` or `DataError` where the options or the store cannot work.
        """
        config, store = canonical(config), store or Store.open(config.store)
        store.verify(VERIFIED)
        if not len(store.indices("test")):
            raise ConfigError(f"{store.path} has no test patches; ingest it with --split random.")
        for spec in config.tasks:
            store.select(task=build_task(spec))
        for spec in config.modalities:
            build_modality(spec).check(store)
        for objective in (*config.objectives, *config.distillation):
            build(objective, objectives, Objective)
        build_views(config.train.views)
        build_probe(config.probe)
        check_references(config)
        caveats = [*store.caveats, *_check_availability(config, store)]
        planned = (_run_config(arm, s, config) for s in config.run_seeds for arm in arms(config))
        runs = [
            with_run_folder(_with_steps(run, config, store), config.runs_folder, store.hash)
            for run in planned
        ]
        # Runs that differ in their seed alone are checked once.
        for run in {replace(run, seed=0, out=Path()): run for run in runs}.values():
            check_views(run, store)
            check_batch(count_training_patches(run, store), run.train.batch)
            check(run)
        return cls(config, store, runs, caveats)

    def __repr__(self) -> str:
        done = sum(Run(run.out).done for run in self.runs)
        return f"Study({str(self.store.path)!r}: {len(self.runs)} runs, {done} done)"

    @property
    def done(self) -> bool:
        """Whether every run is trained."""
        return all(Run(run.out).done for run in self.runs)

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities of the encoders that its runs train, the privileged one last."""
        trained = {spec for run in self.runs for spec in run.arm.modalities.values()}
        return tuple(spec for spec in self.config.modalities if spec in trained)

    def evaluate(self, progress: bool = True) -> Results:
        """Ask every encoder every task; answers that were computed before are read back.

        All runs must be done.
        """
        evaluations = self.evaluations(progress=progress)
        return conclude(self.config, self.store, self.runs, evaluations, self.caveats)

    def evaluations(
        self, cohort: Cohort | None = None, *, progress: bool = True
    ) -> list[Evaluation]:
        """The answers of encoders, references and floors for the test patches, or a cohort's."""
        bar = Bar(self.runs, desc="evaluate", unit="run", disable=not progress)
        evaluations = [*chain.from_iterable(self._evaluate_run(run, cohort) for run in bar)]
        evaluations += self._references(progress, cohort)
        evaluations += self._floors(progress, cohort)
        return evaluations

    def _evaluate_run(self, run: RunConfig, cohort: Cohort | None) -> Iterator[Evaluation]:
        for name, frozen in load_encoders(Run(run.out)).items():
            if not self._is_tested(frozen.modality_spec, cohort):
                continue
            for task in self.config.tasks:
                yield Evaluation(
                    condition_of(run.arm, name, task),
                    run.seed,
                    self._probabilities(frozen, task, run.seed, cohort),
                    run=run.out.name,
                    branch=name,
                    head=frozen.answers_itself(task),
                    size=frozen.size,
                )

    def _references(self, progress: bool, cohort: Cohort | None) -> Iterator[Evaluation]:
        """Published encoders, on every image modality that test patches have."""
        config, folder = self.config, self.config.runs_folder.parent / "references"
        images = [spec for spec in self.modalities if takes_references(spec)]
        tested = [spec for spec in images if self._is_tested(spec, cohort)]
        bar = Bar(load_references(config), desc="references", unit="encoder", disable=not progress)
        for reference in bar:
            label = f"features of {reference.title}" if progress else None
            for frozen in reference.views(tested, folder):
                for task, seed in product(config.tasks, self._untrained_seeds):
                    condition = _reference(reference.title, frozen.modality_spec, task)
                    probabilities = self._probabilities(frozen, task, seed, cohort, label)
                    yield Evaluation(condition, seed, probabilities, size=frozen.size)

    def _floors(self, progress: bool, cohort: Cohort | None) -> Iterator[Evaluation]:
        """What needs no learning, on every modality that test patches have."""
        config = self.config
        folder = config.runs_folder.parent / "floors"
        questions = [*product(config.tasks, self.modalities)]
        for task, spec in Bar(questions, desc="floors", unit="modality", disable=not progress):
            if not self._is_tested(spec, cohort):
                continue
            modality = build_modality(spec)
            store = self.store.select(modality, task=build_task(task))
            other = None if cohort is None else cohort.store.select(modality)
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
        """Seeds of what is not trained: they draw a share of the labels; with all labels, one."""
        return self.config.run_seeds if self.config.probe.labels < 1 else range(1)

    def _probabilities(
        self,
        frozen: FrozenEncoder,
        task: str,
        seed: int,
        cohort: Cohort | None,
        label: str | None = None,
    ) -> npt.NDArray[np.float32]:
        """An encoder's answers to a task, for the test patches or for those of a cohort."""
        device = resolve_device(self.config.machine.device)
        reply = answer(frozen, self.store, self.config.probe, task, seed, device, label)
        return reply.probabilities if cohort is None else cohort.ask(reply, device)

    def _is_tested(self, spec: str, cohort: Cohort | None) -> bool:
        return _is_tested(self.store if cohort is None else cohort.store, spec)


def compare(config: StudyConfig) -> Results:
    """Train every arm and ask every encoder; what is done is not done again.

    Raises `ConfigError` or `DataError`, before anything is trained, where that cannot work.
    """
    study = Study.of(config)
    run_all(study.runs, config.jobs)
    return study.evaluate()


def arms(config: StudyConfig) -> list[Arm]:
    """The ways of training of a study, of each modality in turn."""
    sparse = [arm for primary in config.primary for arm in _arms(primary, config)]
    if not (config.dense_arms or config.both_ways):
        return sparse
    dense = [arm for arm in _arms(config.privileged, config) if arm.kind in DENSE_KINDS]
    return [*sparse, *dense]


DENSE_KINDS = ("symmetric", "supervised")
"""Arms of the privileged modality by itself; its asymmetric branch is trained with the primary."""


def _arms(primary: str, config: StudyConfig) -> Iterator[Arm]:
    common: dict[str, Any] = {
        "primary": primary,
        "privileged": config.privileged,
        "task": config.tasks[0],
    }
    for objective in config.objectives:
        for sharing in config.sharing:
            yield Arm(kind="asymmetric", sharing=sharing, objective=objective, **common)
        for sharing in config.sharing:
            # It does not use the privileged modality.
            itself = {**common, "privileged": primary}
            yield Arm(kind="symmetric", sharing=sharing, objective=objective, **itself)
            if config.fine_tune:
                for start in (common, itself):
                    yield Arm(kind="fine-tuned", sharing=sharing, objective=objective, **start)
        if config.trident:
            # Its two views of the primary share a branch, and the privileged has its own.
            yield Arm(kind="trident", sharing="independent", objective=objective, **common)
    for objective in config.distillation:
        yield Arm(kind="distillation", objective=objective, **common)
    for task in config.tasks:
        yield Arm(kind="supervised", primary=primary, task=task)


def _run_config(arm: Arm, seed: int, config: StudyConfig) -> RunConfig:
    """One arm with one seed, without what has no bearing on it; its folder is not known yet."""
    train, pairing = config.train, config.pairing
    if arm.primary == config.privileged:
        train = replace(train, encoder=config.encoder_of(arm.primary))
    if arm.start:
        pairing = _run_config(arm.start, seed, config).pairing
    elif arm.supervised:
        train = replace(train, epochs=config.supervised_epochs or train.epochs)
        teacher = arm.kind == "distillation"
        pairing = (
            Pairing(teacher=pairing.teacher, teacher_size=pairing.teacher_size)
            if teacher
            else Pairing()
        )
    elif arm.kind == "symmetric":
        pairing = Pairing(width=pairing.width, accumulate=pairing.accumulate)
    elif arm.kind in ("asymmetric", "distillation"):
        pairing = replace(pairing, missing="drop")
    machine = replace(config.machine, features=config.frozen_folder)
    return RunConfig(
        store=config.store,
        out=Path(),
        arm=arm,
        train=train,
        pairing=pairing,
        machine=machine,
        seed=seed,
    )


def _with_steps(run: RunConfig, config: StudyConfig, store: Store) -> RunConfig:
    """The run with as many epochs as make the study's `--steps`, where that is given."""
    if not config.steps:
        return run
    # A fine-tuned encoder has the epochs of the run that it begins from.
    patches = count_training_patches(replace(run, arm=run.arm.start or run.arm), store)
    check_batch(patches, run.train.batch)
    epochs = max(1, round(config.steps / (patches // run.train.batch)))
    return replace(run, train=replace(run.train, epochs=epochs))


def condition_of(arm: Arm, branch: str, task: str) -> Condition:
    """The condition of one branch of an arm, asked a task."""
    paired = arm.kind in ("trident", "distillation") or "asymmetric" in arm.words
    other = arm.primary if branch == "privileged" else arm.privileged
    return Condition(
        arm=arm.kind,
        sharing="" if arm.kind in ("supervised", "distillation") else arm.sharing,
        objective=arm.task if arm.kind == "supervised" else arm.objective,
        modality=arm.privileged if paired and branch == "privileged" else arm.primary,
        partner=other if paired else "",
        task=task,
    )


def _reference(title: str, spec: str, task: str) -> Condition:
    return Condition("reference", "", "", spec, "", task, title)


def _floor(name: str, spec: str, task: str) -> Condition:
    return Condition(name, "", "", spec, "", task)


def _check_availability(config: StudyConfig, store: Store) -> Iterator[str]:
    """Caveats on views that patches lack. Raises `ConfigError` where too few have one."""
    others = [spec for spec in config.modalities if not takes_references(spec)]
    if config.references and others:
        names = " and ".join(others)
        yield f"References take images of three channels, so they are not asked {names}."
    dense = config.dense_arms or config.both_ways
    for spec in config.modalities if dense else config.primary:
        if not _is_tested(store, spec):
            raise ConfigError(
                f"No test patch of {store.path} has {spec}, so its encoders cannot be asked."
            )
    total = len(store.indices("train"))
    for primary in config.primary:
        pair = (build_modality(primary), build_modality(config.privileged))
        paired = len(store.select(*pair).indices("train"))
        check_batch(paired, config.train.batch)
        if paired < total:
            yield (
                f"Pairs of {primary} and {config.privileged} are those of {paired:,} of {total:,} "
                "training patches, which have both; arms of one modality train on all that have it."
            )
    if not _is_tested(store, config.privileged):
        yield f"No test patch has {config.privileged}, so its encoders are not asked."


def _is_tested(store: Store, spec: str) -> bool:
    """Whether a test patch has a modality."""
    return bool(len(store.select(build_modality(spec)).indices("test")))
