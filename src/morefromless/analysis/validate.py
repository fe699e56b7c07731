"""External validation: evaluate a study's encoders and probes on another cohort."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from morefromless.analysis.represent import load_study_config, refuse_unfinished
from morefromless.arms import condition_of
from morefromless.config import Probe, StudyConfig, ValidateConfig, typed_options
from morefromless.data.labels import check_class_names, parse_classes
from morefromless.data.near_duplicates import near_duplicates, thumbnails
from morefromless.data.store import Store
from morefromless.devices import resolve_device
from morefromless.errors import ConfigError, DataError
from morefromless.evaluation.cohort import Cohort, SharedTask
from morefromless.evaluation.conclude import conclude
from morefromless.evaluation.evaluate import Evaluation, open_store
from morefromless.evaluation.frozen import check_same_names
from morefromless.evaluation.loading import load_encoders
from morefromless.evaluation.results import Condition, Results
from morefromless.evaluation.shift import feature_distances
from morefromless.files import check_writable
from morefromless.pairs import build_modality
from morefromless.progress import Bar
from morefromless.runs import Run
from morefromless.study import Study
from morefromless.tasks import build_task


@dataclass(frozen=True)
class Shift:
    """Distance between features of test and training patches (`feature_distances`)."""

    condition: Condition
    internal: float
    external: float


@dataclass(frozen=True, eq=False)
class Validation:
    """Results of the same tasks and probes on two cohorts."""

    internal: Results
    """Results on the test patches of the store that the encoders were trained on."""
    external: Results
    """Results on the test patches of the other cohort."""
    shifts: list[Shift]
    out: Path


def validate(config: ValidateConfig) -> Validation:
    """Evaluate every encoder of a study, or of one run, on the test patches of another store.

    Probes are fitted on the training patches, or are a supervised encoder's head; nothing is
    fitted to the cohort. Raises `ConfigError` if there is no finished study or run, and `DataError`
    if classes or views differ.
    """
    cohort_store = Store.open(config.cohort)
    study = _study(config)
    out = config.out or config.study / f"validation-{config.cohort.resolve().name}"
    check_writable(out)
    study = replace(
        study,
        config=replace(study.config, machine=replace(study.config.machine, device=config.device)),
    )
    if cohort_store.hash == study.store.hash:
        raise DataError(
            f"{cohort_store.path} is the store that {config.study} was trained on; give another."
        )
    unavailable = _unavailable_modalities(study, cohort_store)
    tasks = _shared_tasks(study, cohort_store, config.classes)
    cohort = Cohort(cohort_store, out / "cache", tasks, unavailable)

    def results(store: Store, evaluations: list[Evaluation], caveats: list[str]) -> Results:
        merged = _merged(evaluations, tasks)
        return conclude(study.config, store, study.runs, merged, caveats, tasks)

    caveats = _caveats(study, cohort_store, tasks)
    caveats += [f"Encoders of {spec} are not evaluated: {why}" for spec, why in unavailable.items()]
    internal = results(study.store, study.evaluations(), study.caveats)
    external = results(cohort_store, study.evaluations(cohort), caveats)
    # Learning curves exist only for the internal test patches.
    external = replace(external, curves=external.curves.iloc[:0])
    return Validation(internal, external, list(_shifts(study, cohort)), out)


def _unavailable_modalities(study: Study, cohort: Store) -> dict[str, str]:
    """Map privileged modalities that the cohort does not have to the reason. They are allowed to be
    missing, because only the primary view is used after training. For a missing primary modality,
    raise the error."""
    reasons = {}
    for spec in study.modalities:
        modality = build_modality(spec)
        try:
            modality.check(cohort)
            expected, names = (
                s.meta.arrays[modality.array].channels for s in (study.store, cohort)
            )
            check_same_names(modality.array, expected, names, cohort.path)
        except (ConfigError, DataError) as problem:
            if spec in study.config.primary:
                raise
            reasons[spec] = str(problem)
    return reasons


def _study(config: ValidateConfig) -> Study:
    """The study in a folder; a single run is treated as a study of one arm and one seed."""
    if not (config.study / "run.json").is_file():
        planned = load_study_config(config.study, config.store, config.trust)
        if probe_options := typed_options(config.probe, Probe()):
            raise ConfigError(
                f"{probe_options[0]} is for a single run, but {config.study} is a study, whose "
                "probes have the study's options; remove the option."
            )
        study = Study.of(planned, trust=config.trust)
        refuse_unfinished(config.study, study.runs)
        return study
    run = Run.open(config.study, config.trust)
    store, options = open_store(run, config.store), run.config
    arm = options.arm
    unused = "full" if arm.primary != "full" else "downsample:7"  # a study needs two modalities
    single = StudyConfig(
        store=store.path,
        out=run.path,
        primary=(arm.primary,),
        privileged=arm.privileged if arm.privileged != arm.primary else unused,
        sharing=(arm.sharing,),
        objectives=(arm.objective,),
        tasks=(arm.task,),
        seeds=1,
        train=options.train,
        pairing=options.pairing,
        machine=options.machine,
        probe=config.probe,
    )
    return Study(single, store, [options], store.caveats, config.trust)


def _shared_tasks(study: Study, cohort: Store, classes: Sequence[str]) -> dict[str, SharedTask]:
    """The tasks of a study, restricted to the classes that both stores have; checked."""
    renamed = parse_classes(classes)
    for old, new in renamed.items():
        if renamed.get(new, new) != new:
            raise ConfigError(
                f"--classes renames '{old}' to '{new}' and '{new}' to '{renamed[new]}', so the "
                f"cohort's '{new}' could be either; ingest the cohort with the learned names "
                "(mfl ingest --classes)."
            )
    tasks = {}
    for spec in study.config.tasks:
        task = build_task(spec)
        tasks[spec] = SharedTask(task, study.store.select(task=task).classes, renamed)
    check_class_names({name for task in tasks.values() for name in task.classes}, renamed)
    for spec, shared in tasks.items():
        if len(shared.names) < 2:
            raise ConfigError(
                f"--classes keeps fewer than two classes of task {spec}; keep two or more."
            )
        if not len(cohort.select(task=shared, check=False).indices("test")):
            raise DataError(
                f"No test patch of {cohort.path} has a label, so task {spec} cannot be evaluated; "
                "ingest the cohort with labels, and with --split test."
            )
    return tasks


def _merged(evaluations: Sequence[Evaluation], tasks: Mapping[str, SharedTask]) -> list[Evaluation]:
    """The evaluations, restricted to the classes that both stores have."""
    return [
        replace(e, probabilities=tasks[e.condition.task].merged(e.probabilities))
        for e in evaluations
    ]


def _shifts(study: Study, cohort: Cohort) -> Iterator[Shift]:
    """Yield the shift of each arm and modality, averaged over seeds."""
    device = resolve_device(study.config.machine.device)
    distances: dict[Condition, list[list[float]]] = {}
    for options in Bar(study.runs, desc="distance of features", unit="run"):
        for name, frozen in load_encoders(Run(options.out, study.trust)).items():
            stores = (study.store, cohort.store)
            if frozen.modality_spec in cohort.unavailable:
                continue
            if not all(len(s.select(frozen.modality).indices("test")) for s in stores):
                continue
            train, test = (frozen.features(study.store, s, device) for s in ("train", "test"))
            pair = feature_distances(train, test, cohort.features(frozen, device))
            distances.setdefault(condition_of(options.arm, name, ""), []).append(pair)
    for condition, pairs in distances.items():
        internal, external = np.mean(pairs, axis=0)
        yield Shift(condition, float(internal), float(external))


def _caveats(study: Study, cohort: Store, tasks: Mapping[str, SharedTask]) -> list[str]:
    caveats = list(cohort.caveats)
    for spec, task in tasks.items():
        labelled = cohort.select(task=task, check=False)
        present = set(labelled.labels[labelled.indices("test")])
        missing = [name for code, name in enumerate(task.names) if code not in present]
        if missing:
            caveats.append(
                f"Task {spec}: the cohort has no patch of {', '.join(missing)}; every prediction "
                "of such a class is wrong."
            )
    if (cohort.side, cohort.um_per_px) != (study.store.side, study.store.um_per_px):
        caveats.append(
            f"The cohort's patches are {_scale(cohort)}, and the training patches are "
            f"{_scale(study.store)}."
        )
    return caveats + leakage_warnings(study.store, cohort)


def leakage_warnings(trained_on: Store, cohort: Store) -> list[str]:
    """Warnings about test patches of a cohort that equal, or look like, training patches of another
    store, and about groups with equal names; empty if there are none."""
    train, test = trained_on.indices("train"), cohort.indices("test")
    identical = cohort.table["hash"][test].isin(trained_on.table["hash"][train]).to_numpy()
    detail = min(cohort.side, trained_on.side)
    remaining = thumbnails(cohort.main, test[~identical], detail)
    similar = len(near_duplicates(remaining, thumbnails(trained_on.main, train, detail)).rows)
    sentences = []
    if identical.any():
        sentences.append(
            f"{identical.sum():,} patches of the cohort have the same pixels as training patches, "
            "so its accuracy is too high; remove them."
        )
    if similar:
        sentences.append(
            f"{similar:,} further patches of the cohort look like a training patch "
            "(near-duplicates), so its accuracy may be too high; look at them."
        )
    training_groups = set(trained_on.table["group"][train].dropna())
    if shared := sorted(training_groups & set(cohort.table["group"][test].dropna())):
        sentences.append(
            f"{len(shared):,} groups (patients or slides) of the cohort have the same names as "
            f"training groups, such as '{shared[0]}'; if they are the same groups, its accuracy "
            "is too high."
        )
    return sentences


def _scale(store: Store) -> str:
    scale = f"{store.um_per_px:.3g} µm/px" if store.um_per_px else "an unknown scale"
    return f"{store.side} px at {scale}"
