"""The model card of an exported encoder: description, scores and limits."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import morefromless
from morefromless.arms import condition_of
from morefromless.encoders.timm import Timm
from morefromless.errors import ConfigError
from morefromless.evaluation.calibration import calibrated_on_training_data, read_calibrated
from morefromless.evaluation.frozen import FrozenEncoder
from morefromless.evaluation.results import Results
from morefromless.report.notes import label_share_note
from morefromless.report.pages import write_text
from morefromless.report.section import Section, unreliable_note
from morefromless.report.words import bounds, count, modality_title, per_cent


def write_card(
    frozen: FrozenEncoder, folder: Path, run: Path, cohorts: Sequence[Results] = ()
) -> Path:
    """Write `README.md` into an exported folder.

    Scores are from the study that contains `run` (in the folders that `mfl compare` writes), and
    from the external `cohorts` (`external_cohorts`).
    """
    assert frozen.metadata is not None
    assert frozen.config is not None
    data, arm = frozen.data, frozen.config.arm
    results = _study_results(run)
    probe = read_calibrated(folder, frozen, arm.task)
    path = folder / "README.md"
    write_text(
        path,
        "model_card.md.jinja",
        title=f"{frozen.metadata.branches[frozen.name].encoder}, {frozen.title}",
        modality=modality_title(frozen.modality_spec),
        arm=_arm(frozen),
        version=morefromless.__version__,
        timm=isinstance(frozen.encoder, Timm),
        branch=frozen.name,
        width=frozen.encoder.width,
        patches=_shape(frozen),
        size=frozen.size,
        facts=[
            ("training data", f"{data.title} (hash {data.hash})" if data else "not recorded"),
            ("licence of the data", data.licence if data else "not recorded"),
            ("classes", ", ".join(data.classes) if data else "not recorded"),
            ("patches", _patches(frozen)),
            ("modality", frozen.modality_spec),
            ("input", _input(frozen)),
            ("representation", f"{frozen.encoder.width} values"),
        ],
        scores=None if results is None else _scores(results, frozen).markdown(),
        cohorts=[_cohort(results, frozen) for results in cohorts],
        calibrated=probe and f"{per_cent(probe.coverage_and_accuracy(0)[1])} %",
        head=probe and calibrated_on_training_data(frozen, probe),
        caveats=[] if results is None else _caveats(results),
        citation=data.citation if data else "",
    )
    return path


def _caveats(results: Results) -> list[str]:
    label_note = [label_share_note(results)] if results.config.probe.labels < 1 else []
    return [*label_note, *results.caveats]


def _study_results(run: Path) -> Results | None:
    """The results of the study `OUT` that contains the run `OUT/runs/NAME`, or None."""
    try:
        results = Results.load(run.absolute().parent.parent)
    except ConfigError:
        return None
    return results if _contains_run(results, run) else None


def external_cohorts(run: Path, folders: Sequence[Path]) -> list[Results]:
    """The results of a run that `mfl validate` wrote to its study, to the run, and to `folders`.

    Raises `ConfigError` if one of `folders` holds no results of the run.
    """
    discovered = [
        Results.load(path.parent)
        for folder in (run.absolute().parent.parent, run)
        for path in sorted(folder.glob("validation-*/results.json"))
    ]
    requested = [Results.load(folder) for folder in folders]
    for folder, results in zip(folders, requested, strict=True):
        if not _contains_run(results, run):
            raise ConfigError(
                f"{folder} holds no results of {run}; give a folder that mfl validate wrote for it."
            )
    return [results for results in (*discovered, *requested) if _contains_run(results, run)]


def _contains_run(results: Results, run: Path) -> bool:
    return run.absolute().name in {record.name for record in results.runs}


def _cohort(results: Results, frozen: FrozenEncoder) -> dict[str, str]:
    """The entry of an external cohort in the card."""
    data = results.data
    groups = "groups not known" if data.groups is None else count(data.groups, "group")
    return {
        "title": data.title,
        "patches": f"{data.patches['test']:,} patches, {groups}",
        "scores": _scores(results, frozen).markdown(),
    }


def _arm(frozen: FrozenEncoder) -> str:
    assert frozen.config is not None
    arm = frozen.config.arm
    if arm.supervised:
        return f"trained on the labels of the task {arm.task}"
    others = [modality_title(s) for name, s in arm.modalities.items() if name != frozen.name]
    paired = f"trained in an arm of kind {arm.kind}, paired with {' and '.join(others)}"
    return f"{paired}, with the objective {arm.objective} and {arm.sharing} weights"


def _patches(frozen: FrozenEncoder) -> str:
    side = "of unknown size" if frozen.side is None else f"{frozen.side} x {frozen.side} px"
    scale = "unknown" if frozen.um_per_px is None else f"{frozen.um_per_px:g} µm per pixel"
    return f"{side}, magnification {scale}"


def _input(frozen: FrozenEncoder) -> str:
    if frozen.modality.vector:
        return f"{frozen.modality.channels} values"
    return f"{frozen.modality.channels} x {frozen.size} x {frozen.size}, values in [0, 1]"


def _shape(frozen: FrozenEncoder) -> str:
    """The input that `FrozenEncoder.inputs` expects."""
    if frozen.modality.vector:
        return f"(N, {frozen.modality.channels}) float32"
    side = frozen.side or "side"
    if frozen.modality.colour:
        return f"(N, {side}, {side}, 3) uint8, RGB"
    return f"(N, {side}, {side}, channels), as stored in '{frozen.modality.array}'"


def _scores(results: Results, frozen: FrozenEncoder) -> Section:
    """The scores of this encoder and of the floors of its modality, for every task."""
    assert frozen.config is not None
    rows = []
    for summary in results.summaries:
        condition = summary.condition
        is_this_encoder = condition == condition_of(frozen.config.arm, frozen.name, condition.task)
        if is_this_encoder or (condition.floor and condition.modality == frozen.modality_spec):
            values = (summary.intervals[name] for name in ("accuracy", "macro_f1"))
            scores = [f"{per_cent(value.estimate)} {bounds(value)}" for value in values]
            rows.append((condition.title, condition.task, *scores))
    table = Section("", ("encoder", "task", "accuracy %", "macro-F1 %"), rows)
    return replace(table, notes=unreliable_note([table]))
