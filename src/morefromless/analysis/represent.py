"""Representations of a study's arms: CKA over combinations of runs, and confusion matrices."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt

from morefromless.analysis.layer_cka import layer_cka
from morefromless.analysis.similarity import LayerCka
from morefromless.config import RepresentConfig, RunConfig, StudyConfig, to_flat
from morefromless.data.store import Store
from morefromless.devices import resolve_device
from morefromless.errors import ConfigError
from morefromless.evaluation.evaluate import Answer, evaluate_branch, no_store
from morefromless.evaluation.frozen import random_encoder
from morefromless.evaluation.metrics import confusion
from morefromless.evaluation.results import Results
from morefromless.files import check_writable
from morefromless.pairs import build_modality
from morefromless.progress import Bar
from morefromless.runs import Run
from morefromless.specs import refuse_outside
from morefromless.study import Study
from morefromless.tasks import build_task

RANDOM = "random"
"""Name of the arm of untrained encoders."""


@dataclass(frozen=True, eq=False)
class Similarities:
    """Data of the figures and tables of `mfl represent`."""

    config: RepresentConfig
    study: StudyConfig
    primary: str
    store: Store
    """Labelled patches that have the primary view."""
    arms: dict[str, list[Answer]]
    """Runs by arm, in the order of the study's table."""
    cka: list[LayerCka]
    """CKA of every pair of arms, and of each arm with itself; includes untrained encoders."""
    confusion: dict[str, npt.NDArray[np.int64]]
    """Confusion matrix of each arm, summed over seeds; rows are true classes."""
    device: str
    out: Path


def represent(config: RepresentConfig, cka: bool = True) -> Similarities:
    """Compare all runs of a study whose encoder has the primary modality; CKA only if `cka`.

    Raises `ConfigError` or `DataError` if the folder does not contain a finished study.
    """
    study = load_study_config(config.study, config.store, config.trust)
    out = config.out or config.study / "representations"
    check_writable(out)
    full_store = Store.open(study.store)
    primary = config.primary or study.primary[0]
    if primary not in study.primary:
        raise ConfigError(
            f"{config.study} has no primary '{primary}', only {', '.join(study.primary)}."
        )
    device, task = resolve_device(config.analysis.device), study.tasks[0]
    store = full_store.select(build_modality(primary), task=build_task(task))
    runs = [run for run in Study.of(study, full_store).runs if run.arm.primary == primary]
    refuse_unfinished(config.study, runs)
    words = {run.out: arm_words(run, study) for run in runs}
    arm_names = [*dict.fromkeys("-".join(arm) for arm in words.values()), RANDOM]
    unknown = [arm for arm in config.arms if not any(_selects(arm, name) for name in arm_names)]
    if unknown:
        raise ConfigError(
            f"{config.study} has no arm '{unknown[0]}'; it has {', '.join(arm_names)}."
        )
    selected = [
        name
        for name in arm_names
        if not config.arms or any(_selects(arm, name) for arm in config.arms)
    ]
    if set(selected) == {RANDOM}:
        raise ConfigError(
            f"Untrained encoders alone cannot be compared; add one of {', '.join(arm_names[:-1])}."
        )
    arms: dict[str, list[Answer]] = {}
    for run in Bar(
        [run for run in runs if "-".join(words[run.out]) in selected],
        desc="evaluate",
        unit="run",
    ):
        answer = evaluate_branch(
            Run(run.out, config.trust), "primary", full_store, config.probe, task, device
        )
        arms.setdefault(", ".join(words[run.out]), []).append(answer)
    encoders = {arm: [answer.frozen for answer in answers] for arm, answers in arms.items()}
    if RANDOM in selected:
        encoders[RANDOM] = [
            random_encoder(study.train.encoder, primary, study.train.size, seed, study.out)
            for seed in study.run_seeds
        ]
    rows = store.indices("test")
    truth, classes = store.labels[rows], len(store.classes)
    return Similarities(
        config=config,
        study=study,
        primary=primary,
        store=store,
        arms=arms,
        cka=layer_cka(encoders, store, rows, config.analysis, device) if cka else [],
        confusion={
            arm: np.sum(
                [confusion(a.probabilities.argmax(1), truth, classes) for a in answers], axis=0
            )
            for arm, answers in arms.items()
        },
        device=device,
        out=out,
    )


def load_study_config(folder: Path, store: Path | None = None, trust: bool = False) -> StudyConfig:
    """The options of the study in a folder, which may have been moved with its runs and its store.

    The store is the given one, else the one recorded by a run, else the one in the study's
    options. Raises `DataError` if none of them exists.
    """
    results = Results.load(folder)
    study = results.config
    if not trust:
        refuse_outside(to_flat(study), str(folder / "results.json"))
    runs = study.runs
    if runs is not None:
        moved_runs = folder / os.path.relpath(runs, study.out)
        runs = moved_runs if moved_runs.is_dir() else runs
    study = replace(study, out=folder, runs=runs)
    if store is None:
        records = (Run(study.runs_folder / run.name, trust) for run in results.runs)
        recorded = (run.config.store for run in records if run.record_path.is_file())
        store = next((path for path in chain(recorded, [study.store]) if path.is_dir()), None)
        if store is None:
            raise no_store(study.store, folder)
    return replace(study, store=store)


def refuse_unfinished(folder: Path, runs: Sequence[RunConfig]) -> None:
    """Raise `ConfigError` unless every run of a study is trained."""
    unfinished = [run for run in runs if not Run(run.out).done]
    if unfinished:
        raise ConfigError(
            f"{len(unfinished)} of {len(runs)} runs of {folder} are not finished "
            f"({unfinished[0].out.name}); run its mfl compare again to resume it."
        )


def arm_words(run: RunConfig, study: StudyConfig) -> list[str]:
    """The words that distinguish an arm from the study's other arms; users join them by hyphens.

    If the study has several objectives, or several tasks for supervised arms, they are included,
    so that runs of different objectives are never combined. `supervised` alone then selects all
    supervised arms.

    >>> from morefromless.config import Arm
    >>> study = StudyConfig(store=Path("store"), tasks=("tissue", "cell"))
    >>> arm_words(RunConfig(store=study.store, out=Path("run")), study)
    ['asymmetric', 'independent']
    >>> supervised = Arm(kind="supervised", task="cell")
    >>> arm_words(RunConfig(store=study.store, out=Path("run"), arm=supervised), study)
    ['supervised', 'cell']
    """
    arm = run.arm
    words = list(arm.words)
    if arm.kind == "supervised" and len(study.tasks) > 1:
        words.append(arm.task)
    if arm.kind not in ("supervised", "distillation") and len(study.objectives) > 1:
        words.append(arm.objective)
    return words


def _selects(arm: str, name: str) -> bool:
    """Whether the requested `arm` equals the first words, or all words, of an arm's name."""
    return f"{name}-".startswith(f"{arm}-")
