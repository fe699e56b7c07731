"""The output of `mfl represent`: tables of CKA, and figures with their numbers."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

import morefromless
from morefromless import files
from morefromless.analysis.layer_cka import count_batches
from morefromless.analysis.represent import RANDOM, Similarities
from morefromless.analysis.representative import shown_patches
from morefromless.analysis.similarity import LayerCka, deviation
from morefromless.config import differences, to_flat
from morefromless.pairs import build_modality
from morefromless.report.cam_figure import GRIDS, write_cams
from morefromless.report.confusion import write_confusion
from morefromless.report.content import Picture
from morefromless.report.map_figure import write_map
from morefromless.report.section import Report, Section
from morefromless.report.similarity_figure import short_name, write_diagonals, write_heat_maps
from morefromless.report.words import count, modality_title

FIGURES = ("cka", "cka-diagonal", "confusion", *GRIDS, "features")
CAPTIONS = {
    "cka": "CKA of every pair of layers, averaged over combinations of runs, one panel per pair of "
    "arms (the paper's Fig. 2). Layers run from input (lower left) to output; 1 means equal up to "
    "rotation and scale. Between arms, pairs of runs with equal seeds are excluded, unless there "
    "are no others.",
    "cka-diagonal": "CKA of the same layer in two encoders, from input to output; bands are one "
    "standard deviation over combinations of runs.",
    "confusion": "Confusion matrices, in per cent of the true class and in patches over all runs; "
    "below, the difference in points (the paper's Fig. S4).",
    "gradcam-first": "GradCAM of the first convolution, of the first seed of each arm, on the "
    "patch nearest to its class's mean (the paper's Fig. 3).",
    "gradcam-stages": "GradCAM of the first convolution of every stage, on the same patches (the "
    "paper's Fig. S5).",
    "features": "Maps of the features of the first seed of each arm.",
}


def write(result: Similarities, stems: Collection[str] = FIGURES) -> list[Path]:
    """Write the figures, and the tables (`representations.md`, `.csv`, `.json`) if there is CKA."""
    folder = result.out
    written: list[Path] = []
    if "cka" in stems:
        written += write_heat_maps(result.cka, folder / "cka")
    if "cka-diagonal" in stems:
        written += write_diagonals(result.cka, folder / "cka-diagonal")
    if "confusion" in stems:
        written += write_confusion(result.confusion, result.store.classes, folder / "confusion")
    if set(GRIDS) & set(stems):
        written += _write_cams(result, stems)
    if "features" in stems:
        written += _write_map(result)
    if result.cka:
        written.append(report(result).write(folder / "representations.md"))
        written.append(folder / "representations.csv")
        files.write_csv(written[-1], _long_table(result))
        written.append(folder / "representations.json")
        files.write_json(written[-1], _json_content(result))
    return written


def pictures(result: Similarities, stems: Collection[str], folder: Path) -> list[Picture]:
    """The figures that were written, for a report in `folder`."""
    lead = f"Encoders of {modality_title(result.primary)}. "
    return [
        Picture(str(path.relative_to(folder)), lead + CAPTIONS[stem], lead + CAPTIONS[stem])
        for stem in stems
        if (path := result.out / f"{stem}.svg").is_file()
    ]


def tables(result: Similarities) -> list[Section]:
    """The tables, for a report."""
    content = report(result)
    *others, last = content.sections
    return [*others, replace(last, notes=content.notes)]


def report(result: Similarities) -> Report:
    """The tables and their notes as a report."""
    return Report(
        f"Representations of {result.primary}",
        [
            _table("CKA of the last layer", result.cka, lambda pair: pair.combinations[:, -1, -1]),
            _table(
                "CKA of the same layer, mean over all layers",
                result.cka,
                lambda pair: pair.diagonal.mean(axis=1),
            ),
        ],
        _notes(result),
    )


def _write_cams(result: Similarities, stems: Collection[str]) -> list[Path]:
    """GradCAMs of the first seed of each arm, on named or representative patches."""
    firsts = {arm: answers[0] for arm, answers in result.arms.items()}
    reference, named = next(iter(firsts.values())), result.config.analysis.show
    patches = shown_patches(reference, result.store, result.device, named)
    extra_columns = {
        spec: spec
        for spec in (result.primary, result.study.privileged)
        if not build_modality(spec).vector
    }
    return write_cams(
        firsts, patches, extra_columns, result.out, result.store, result.device, stems
    )


def _write_map(result: Similarities) -> list[Path]:
    store = result.store
    rows = store.indices("test")
    names = [store.classes[label] for label in store.labels[rows]]
    groups = store.groups("test")
    features = {
        arm: answers[0].frozen.features(store, "test", result.device).numpy()
        for arm, answers in result.arms.items()
    }
    return write_map(
        features,
        list(store.table["id"].iloc[rows]),
        names,
        None if groups is None else list(map(str, groups)),
        result.out / "features",
    )


def _table(
    title: str,
    cka: Sequence[LayerCka],
    value: Callable[[LayerCka], npt.NDArray[np.float64]],
) -> Section:
    """A table of arms by arms: mean and standard deviation over combinations of runs."""
    arms = list(dict.fromkeys(arm for pair in cka for arm in (pair.a, pair.b)))
    cells = {}
    for pair in cka:
        values = value(pair)
        mark = " (equal seeds)" if pair.equal_seeds else ""
        spread = f" ± {deviation(values):.2f}" if len(values) > 1 else ""
        cells[pair.a, pair.b] = cells[pair.b, pair.a] = f"{values.mean():.2f}{spread}{mark}"
    lines = [(arm, *(cells.get((arm, other), "") for other in arms)) for arm in arms]
    return Section(title, ("arm", *arms), lines)


def _notes(result: Similarities) -> list[str]:
    analysis, study, first = result.config.analysis, result.study, result.cka[0]
    patches = len(result.store.indices("test"))
    used = min(analysis.cka_patches or patches, patches)
    batches = count_batches(used, analysis)
    lines = [
        f"{analysis.estimator.capitalize()} linear CKA on {used:,} of {patches:,} test patches in "
        f"{count(batches, 'batch')}; {len(first.rows)} layers from "
        f"{short_name(first.rows[0])} to {short_name(first.rows[-1])}.",
    ]
    if study.seeds > 1:
        lines.append(
            f"Means ± standard deviations are over combinations of {study.seeds} runs (seeds): "
            "within an arm, of different runs; between arms, of runs with different seeds, because "
            "runs with equal seeds start from the same weights. Combinations share runs, so the "
            "standard deviation is not a standard error. A single combination has none."
        )
    if any(RANDOM in (pair.a, pair.b) for pair in result.cka):
        lines.append("'random' means untrained encoders of the same architecture.")
    lines += [
        f"{study.train.encoder} at {study.train.size} px, {', '.join(study.objectives)}, "
        f"{study.length} of batches of {study.train.batch}.",
    ]
    if others := differences(to_flat(study.probe), to_flat(result.config.probe)):
        lines.append(
            f"The probes differ from the study's ({'; '.join(others)}), so confusion matrices do "
            "not match its accuracies."
        )
    if any(pair.equal_seeds for pair in result.cka):
        lines.append(
            "Arms marked 'equal seeds' have only pairs of runs with equal seeds. Such runs start "
            "from the same weights, so their CKA is higher than between two seeds."
        )
    constant = {name for pair in result.cka for names in pair.constant_layers for name in names}
    if constant:
        lines.append(
            f"{len(constant)} layers are constant over the patches in some run (such as "
            f"{min(constant)}). Their CKA is undefined, so they are excluded."
        )
    return [*lines, *result.store.caveats]


def _long_table(result: Similarities) -> pd.DataFrame:
    """Long form: one row per pair of arms and layer that both have."""
    return pd.DataFrame(
        {
            "a": pair.a,
            "b": pair.b,
            "layer": layer,
            "cka": values.mean(),
            "sd": deviation(values),
            "combinations": len(values),
        }
        for pair in result.cka
        for layer, values in zip(pair.shared, pair.diagonal.T, strict=True)
    )


def _json_content(result: Similarities) -> dict[str, object]:
    return {
        "version": morefromless.__version__,
        "options": to_flat(result.config),
        "primary": result.primary,
        "classes": list(result.store.classes),
        "runs": {
            arm: [a.frozen.folder_name for a in answers] for arm, answers in result.arms.items()
        },
        "cka": [
            {
                "a": pair.a,
                "b": pair.b,
                "rows": list(pair.rows),
                "columns": list(pair.columns),
                "mean": pair.mean.tolist(),
                "sd": pair.spread.tolist() if len(pair.combinations) > 1 else None,
                "combinations": len(pair.combinations),
                "equal_seeds": pair.equal_seeds,
            }
            for pair in result.cka
        ],
        "confusion": {arm: counts.tolist() for arm, counts in result.confusion.items()},
    }
