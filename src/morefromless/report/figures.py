"""The figures of a study.

- `density`: accuracy against information density, if each way of training has one encoder at each
  of several densities
- `panels`: otherwise, every condition by name, one panel per task and modality
- `curves`: learning curves, if they were recorded
"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from morefromless.evaluation.results import Results, Summary
from morefromless.report.curves_figure import curves
from morefromless.report.density_figure import density, primary_encoders, resolutions
from morefromless.report.panels_figure import panels
from morefromless.report.style import FORMATS, save


def write(results: Results, folder: Path) -> list[Path]:
    """Write the figures of these results as SVG, PDF and PNG, with their numbers as CSV. Other
    figures that an earlier study left in `folder` are removed."""
    arms = numbers(results.select(lambda c: not c.floor))
    stem, draw = ("density", density) if _has_lines(results) else ("panels", panels)
    paths = save(draw(results), folder / stem, arms)
    if not results.curves.empty:
        paths += save(curves(results), folder / "curves", results.curves)
    for stem in ("density", "panels", "curves"):
        for suffix in (*FORMATS, ".csv"):
            path = folder / f"{stem}{suffix}"
            if path not in paths:
                path.unlink(missing_ok=True)
    return paths


def _has_lines(results: Results) -> bool:
    """Whether each way of training has one encoder at each of several densities."""
    config, rows = results.config, primary_encoders(results)
    modalities = {row.condition.modality for row in rows}
    single = len(config.tasks) == len(config.objectives) == 1 and not config.both_ways
    return single and 1 < len(resolutions(rows)) == len(modalities)


def numbers(summaries: Sequence[Summary]) -> pd.DataFrame:
    """The numbers of a figure of accuracies: one row per condition."""
    return pd.DataFrame(
        {
            **vars(s.condition),
            "resolution_px": s.resolution,
            "um_per_px": s.um_per_px,
            "accuracy": s.accuracy.estimate,
            "low": s.accuracy.low,
            "high": s.accuracy.high,
            "seeds": " ".join(f"{value:.4f}" for value in s.accuracies),
        }
        for s in summaries
    )
