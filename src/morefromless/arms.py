"""The arms of a study, the runs that train them, and checks that the store has enough patches."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from morefromless.config import Arm, Pairing, RunConfig, StudyConfig
from morefromless.data.store import HasLabels, Store
from morefromless.errors import ConfigError
from morefromless.evaluation.references import supports_references
from morefromless.evaluation.results import Condition
from morefromless.identity import with_run_folder
from morefromless.pairs import build_modality
from morefromless.tasks import build_task
from morefromless.training.checks import count_steps, count_training_patches
from morefromless.training.steps import batch_size, check_batch, largest_batch


def arms(config: StudyConfig) -> list[Arm]:
    """Return the arms of a study, modality by modality."""
    sparse = [arm for primary in config.primary for arm in _arms(primary, config)]
    if not (config.dense_arms or config.both_ways):
        return sparse
    dense = [arm for arm in _arms(config.privileged, config) if arm.kind in DENSE_KINDS]
    return [*sparse, *dense]


DENSE_KINDS = ("symmetric", "supervised")
"""Arms of the privileged modality alone; its asymmetric branch is trained with the primary."""


def _arms(primary: str, config: StudyConfig) -> Iterator[Arm]:
    common: dict[str, Any] = {
        "primary": primary,
        "privileged": config.privileged,
        "task": config.tasks[0],
    }
    for objective in config.objectives:
        for sharing in config.sharing:
            yield Arm(kind="asymmetric", sharing=sharing, objective=objective, **common)
        symmetric = {**common, "privileged": primary}  # without the privileged modality
        for sharing in config.sharing:
            yield Arm(kind="symmetric", sharing=sharing, objective=objective, **symmetric)
        for sharing in config.sharing if config.fine_tune else ():
            for start in (common, symmetric):
                yield Arm(kind="fine-tuned", sharing=sharing, objective=objective, **start)
        if config.trident:
            # The two views of the primary share a branch, and the privileged has its own.
            yield Arm(kind="trident", sharing="independent", objective=objective, **common)
    for objective in config.distillation:
        yield Arm(kind="distillation", objective=objective, **common)
    for task in config.tasks:
        yield Arm(kind="supervised", primary=primary, task=task)


def planned_runs(config: StudyConfig, store: Store) -> list[RunConfig]:
    """Return every arm with every seed, each with its folder (`out`); the seed varies slowest."""
    runs = (_run_config(arm, seed, config) for seed in config.run_seeds for arm in arms(config))
    return [
        with_run_folder(
            _with_steps(_with_batch(run, store), config, store), config.runs_folder, store.hash
        )
        for run in runs
    ]


def _run_config(arm: Arm, seed: int, config: StudyConfig) -> RunConfig:
    """Return one arm with one seed, without options that do not affect it; `out` is not yet set."""
    train, pairing = config.train, config.pairing
    if arm.primary == config.privileged:
        train = replace(train, encoder=config.encoder_of(arm.primary))
    if arm.kind != "distillation":
        pairing = replace(pairing, teacher=None, teacher_size=None)
    if arm.pretraining_arm:
        pairing = _run_config(arm.pretraining_arm, seed, config).pairing
        arm = replace(arm, fine_tune_epochs=config.supervised_epochs)
    elif arm.supervised:
        train = replace(train, epochs=config.supervised_epochs or train.epochs)
        pairing = Pairing(teacher=pairing.teacher, teacher_size=pairing.teacher_size)
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


def _with_batch(run: RunConfig, store: Store) -> RunConfig:
    """Reduce the batch size of a supervised run if too few patches have labels to fill a batch."""
    # The batch size of a fine-tuned run is also that of the run that it starts from (`batch_size`).
    if run.arm.pretraining_arm or not run.arm.supervised:
        return run
    patches = count_training_patches(run, store)
    batch = largest_batch(run, patches)
    return replace(run, train=replace(run.train, batch=batch)) if batch else run


def _with_steps(run: RunConfig, config: StudyConfig, store: Store) -> RunConfig:
    """Set the number of epochs that matches the study's `--steps`, if that is given."""
    if not config.steps:
        return run
    patches = count_training_patches(run, store)
    batch = batch_size(run, patches)
    check_batch(patches, batch, run.arm)
    epochs = max(1, round(config.steps / (patches // batch)))
    if not run.arm.pretraining_arm:
        return replace(run, train=replace(run.train, epochs=epochs))
    start = _with_steps(replace(run, arm=run.arm.pretraining_arm), config, store)
    return replace(start, arm=replace(run.arm, fine_tune_epochs=epochs))


def condition_of(arm: Arm, branch: str, task: str) -> Condition:
    """Return the condition of one branch of an arm, evaluated on a task."""
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


def availability_caveats(config: StudyConfig, store: Store) -> Iterator[str]:
    """Yield caveats on missing views. Raises `ConfigError` if too few patches have a view."""
    others = [spec for spec in config.modalities if not supports_references(spec)]
    if config.references and others:
        names = " and ".join(others)
        yield f"References need images of three channels, so they are not evaluated on {names}."
    dense, tasks = config.dense_arms or config.both_ways, [*map(build_task, config.tasks)]
    unevaluable = {
        spec: why for spec in config.modalities if (why := _reason_unevaluable(store, spec, tasks))
    }
    for spec in config.modalities if dense else config.primary:
        if spec in unevaluable:
            raise ConfigError(f"{unevaluable[spec]}, so its encoders cannot be evaluated.")
    total = len(store.indices("train"))
    for primary in config.primary:
        pair = (build_modality(primary), build_modality(config.privileged))
        paired = len(store.select(*pair).indices("train"))
        check_batch(paired, config.train.batch)
        if paired < total:
            yield (
                f"Only {paired:,} of {total:,} training patches have both {primary} and "
                f"{config.privileged}; pairs use these. Arms of one modality train on all patches "
                "that have it."
            )
    if config.privileged in unevaluable:
        yield f"{unevaluable[config.privileged]}, so its encoders are not evaluated."


def _reason_unevaluable(store: Store, spec: str, tasks: Iterable[HasLabels]) -> str:
    """Return why a modality cannot be evaluated on all the tasks; empty if it can."""
    stores = labelled_stores(store, spec, tasks)
    if not all(labelled.has_test_patches for labelled in stores):
        return f"No labelled test patch has {spec}"
    if not all(labelled.can_train_probe for labelled in stores):
        return f"The labelled training patches that have {spec} are of one class or none"
    return ""


def supervised_caveats(config: StudyConfig, patches: Mapping[RunConfig, int]) -> Iterator[str]:
    """Yield caveats for results if few patches have a label, so that supervised arms have fewer
    patches; `patches` is their number for each run."""
    batches = {batch_size(run, count) for run, count in patches.items()}
    arm_names = "Supervised and fine-tuned arms" if config.fine_tune else "Supervised arms"
    for batch in sorted(batches - {config.train.batch}):
        yield (
            f"{arm_names} train in batches of {batch}, because only this many training patches "
            "have a label."
        )
    steps: dict[str, list[int]] = {"Self-supervised": [], "Supervised": [], "Fine-tuned": []}
    for run, count in patches.items():
        supervised = "Supervised" if run.arm.supervised else "Self-supervised"
        steps["Fine-tuned" if run.arm.pretraining_arm else supervised].append(
            count_steps(run, count)
        )
    if config.steps or config.supervised_epochs:
        return
    pretraining_steps = min(steps["Self-supervised"], default=0)
    for kind in ("Fine-tuned", "Supervised"):
        arm_steps = min(steps[kind], default=pretraining_steps)
        if arm_steps < pretraining_steps:
            yield (
                f"{kind} arms train for as few as {arm_steps:,} steps, self-supervised ones for "
                f"{pretraining_steps:,} or more, because fewer training patches have a label; "
                "--steps gives all the same number."
            )


def labelled_stores(store: Store, spec: str, tasks: Iterable[HasLabels]) -> list[Store]:
    """Select, for each task, the patches of the store that the task and a modality need, without
    checks."""
    modality = build_modality(spec)
    return [store.select(modality, task=task, check=False) for task in tasks]
