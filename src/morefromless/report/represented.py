"""What `mfl represent` writes: tables of CKA, and the figures with their numbers."""

import dataclasses
from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

import morefromless
from morefromless.analysis.representative import named, representative
from morefromless.analysis.similarity import LayerCka
from morefromless.comparison.represent import Represented
from morefromless.pairs import modality
from morefromless.report.cam_figure import GRIDS, write_cams
from morefromless.report.confusion import write_confusion
from morefromless.report.map_figure import write_map
from morefromless.report.section import Report, Section
from morefromless.report.similarity_figure import short, write_diagonals, write_heat_maps
from morefromless.runs import plain


def report(found: Represented) -> Report:
    """The tables in every form."""
    return Report(
        f"Representations of {found.primary}",
        [
            _table("CKA of the last layer", found, lambda one: one.each[:, -1, -1]),
            _table(
                "CKA of the same layer, mean over all layers",
                found,
                lambda one: one.diagonal.mean(axis=1),
            ),
        ],
        _notes(found),
        _lines(found),
        _everything(found),
    )


FIGURES = ("cka", "cka-diagonal", "confusion", *GRIDS, "features")


def write_figures(found: Represented, wanted: Collection[str] = FIGURES) -> list[Path]:
    """CKA (Fig. 2), GradCAM (Fig. 3, S5), confusion (Fig. S4), and maps of the features."""
    folder = found.out
    written: list[Path] = []
    if "cka" in wanted:
        written += write_heat_maps(found.alike, folder / "cka")
    if "cka-diagonal" in wanted:
        written += write_diagonals(found.alike, folder / "cka-diagonal")
    if "confusion" in wanted:
        written += write_confusion(found.confusion, found.store.classes, folder / "confusion")
    if set(GRIDS) & set(wanted):
        written += _write_cams(found, wanted)
    if "features" in wanted:
        written += _write_map(found)
    return written


def _write_cams(found: Represented, wanted: Collection[str]) -> list[Path]:
    """The first seed of each arm, on patches named or standing for their class."""
    firsts = {arm: runs[0] for arm, runs in found.arms.items()}
    reference = next(iter(firsts.values()))
    shown = (
        named(found.store, found.options.show)
        if found.options.show
        else representative(reference, found.store, found.device)
    )
    beside = {
        spec: spec
        for spec in (found.primary, found.comparison.privileged)
        if not modality(spec).vector
    }
    return write_cams(firsts, shown, beside, found.out, found.store, found.device, wanted)


def _write_map(found: Represented) -> list[Path]:
    store = found.store
    rows = store.indices("test")
    names = [store.classes[label] for label in store.labels[rows]]
    groups = None if (held := store.groups("test")) is None else list(map(str, held))
    features = {arm: runs[0].features("test", found.device) for arm, runs in found.arms.items()}
    ids = list(store.table["id"].iloc[rows])
    return write_map(features, ids, names, groups, found.out / "features")


def _table(
    title: str, found: Represented, value: Callable[[LayerCka], npt.NDArray[np.float64]]
) -> Section:
    """Arms against arms: mean over combinations of runs, and their standard deviation."""
    arms = list(dict.fromkeys(arm for one in found.alike for arm in (one.a, one.b)))
    cells = {}
    for one in found.alike:
        values = value(one)
        spread = values.std(ddof=1) if len(values) > 1 else 0.0
        cells[one.a, one.b] = cells[one.b, one.a] = f"{values.mean():.2f} ± {spread:.2f}"
    lines = [(arm, *(cells.get((arm, other), "") for other in arms)) for arm in arms]
    return Section(title, ("arm", *arms), lines, [])


def _notes(found: Represented) -> list[str]:
    options, compared = found.options, found.comparison
    one = found.alike[0]
    patches = len(found.store.indices("test"))
    seen = min(options.cka_patches or patches, patches)
    said = [
        f"{options.estimator.capitalize()} linear CKA on {seen:,} of {patches:,} test patches in "
        f"batches of about {options.batch}; {len(one.rows)} layers from {short(one.rows[0])} to "
        f"{short(one.rows[-1])}.",
        f"Means ± standard deviations are over all combinations of {compared.seeds} runs (seeds); "
        "within an arm, of different runs. Combinations share runs, so the deviation describes "
        "them and is no standard error.",
        "'random' are untrained encoders of the same architecture.",
        f"{compared.encoder} at {compared.size} px, {compared.objective}, {compared.epochs} epochs "
        f"of batches of {compared.batch}.",
    ]
    left = {name for one in found.alike for names in one.left_out for name in names}
    if left:
        said.append(
            f"{len(left)} layers say the same of every patch in some run ({min(left)}), so their "
            "CKA is undefined; they are left out."
        )
    return [*said, *found.store.caveats]


def _lines(found: Represented) -> pd.DataFrame:
    """Long form: a line every two arms and layer of both."""
    return pd.DataFrame(
        {
            "a": one.a,
            "b": one.b,
            "layer": layer,
            "cka": values.mean(),
            "sd": values.std(ddof=1) if len(values) > 1 else 0.0,
            "combinations": len(values),
        }
        for one in found.alike
        for layer, values in zip(
            [n for n in one.rows if n in one.columns], one.diagonal.T, strict=True
        )
    )


def _everything(found: Represented) -> dict[str, object]:
    return {
        "version": morefromless.__version__,
        "options": plain(found.options),
        "comparison": plain(found.comparison),
        "primary": found.primary,
        "classes": found.store.classes,
        "runs": {arm: [one.run.path.name for one in runs] for arm, runs in found.arms.items()},
        "training_seconds": sum(
            float(one.run.record["seconds"]) for runs in found.arms.values() for one in runs
        ),
        "alike": [
            {
                **dataclasses.asdict(one),
                "each": None,
                "mean": one.mean.tolist(),
                "sd": one.spread.tolist(),
                "combinations": len(one.each),
            }
            for one in found.alike
        ],
        "confusion": {arm: counts.tolist() for arm, counts in found.confusion.items()},
    }
