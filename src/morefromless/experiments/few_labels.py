"""Few labels: accuracy against the share of labels that the probe is fitted on."""

from collections.abc import Mapping
from pathlib import Path

from morefromless.config import StudyConfig
from morefromless.evaluation.results import Results
from morefromless.experiments import Cell, Experiment, Setting, first_summary
from morefromless.experiments._lines import write_lines
from morefromless.report.content import Picture

SHARES = (1.0, 0.3, 0.1, 0.03, 0.01)


class FewLabels(Experiment):
    """Cost: the runs are those of Table 1 at the sparsest side; each share fits its own probes.

    Labels are sampled separately for each seed: the share of each class, and at least one label.
    Supervised arms are excluded, because their training used all labels.
    """

    title = "Few labels"
    about = (
        "Does the gain become smaller or larger if few patches are labelled? The paper does not "
        "examine this."
    )
    needs = frozenset({"tissue"})

    def studies(self, setting: Setting) -> dict[str, StudyConfig]:
        return {
            f"{share:g}": setting.study(
                f"few-labels-{share:g}", primary=(setting.sparsest,), labels=share
            )
            for share in SHARES
        }

    def cells(self, results: Mapping[str, Results], setting: Setting) -> list[Cell]:
        cells = []
        for share in SHARES:
            for arm in ("asymmetric", "symmetric"):
                for sharing in ("independent", "shared"):
                    where = {"arm": arm, "sharing": sharing, "modality": setting.sparsest}
                    summary = first_summary(results[f"{share:g}"], **where)
                    if summary:
                        row, column = f"{share:.0%} of labels", f"{arm}, {sharing}"
                        cells.append(Cell(row, column, summary, 100 * share))
        return cells

    def draw(self, cells: list[Cell], folder: Path) -> list[Picture]:
        caption = "Accuracy against the share of labels, with intervals."
        return [
            write_lines(
                folder / "shares",
                cells,
                axis_title="share of labels",
                caption=caption,
                ticks="{:g} %",
            )
        ]
