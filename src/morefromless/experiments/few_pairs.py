"""Few pairs: accuracy against the share of training patches that have a privileged view."""

from collections.abc import Mapping
from pathlib import Path

from morefromless.config import StudyConfig
from morefromless.evaluation.results import Results
from morefromless.experiments import Cell, Experiment, Setting, first_summary
from morefromless.experiments._lines import write_lines
from morefromless.report.content import Picture

SHARES = (1.0, 0.5, 0.2)


class FewPairs(Experiment):
    """Cost: for each share an asymmetric arm and TriDeNT, times seeds; symmetric arms use no pairs.

    Asymmetric arms train on the patches that have both views. TriDeNT trains on all patches, and
    pairs the views that each patch has. Asymmetric runs have equally many epochs for all shares,
    so they have fewer steps with fewer pairs.
    """

    title = "Few pairs"
    about = (
        "What happens if only some patches have the dense view? TriDeNT can also use the other "
        "patches; asymmetric training cannot. The paper does not examine this."
    )
    needs = frozenset({"tissue"})

    def studies(self, setting: Setting) -> dict[str, StudyConfig]:
        return {
            f"{share:g}": setting.study(
                f"few-pairs-{share:g}",
                primary=(setting.sparsest,),
                sharing=("independent",),
                trident=True,
                pairs=share,
                missing="pairs" if share < 1 else "drop",
            )
            for share in SHARES
        }

    def cells(self, results: Mapping[str, Results], setting: Setting) -> list[Cell]:
        cells = []
        for share in SHARES:
            for arm in ("asymmetric", "trident", "symmetric"):
                summary = first_summary(results[f"{share:g}"], arm=arm, modality=setting.sparsest)
                if summary:
                    cells.append(Cell(f"{share:.0%} of pairs", arm, summary, 100 * share))
        return cells

    def draw(self, cells: list[Cell], folder: Path) -> list[Picture]:
        caption = "Accuracy against the share of pairs, with intervals."
        return [
            write_lines(
                folder / "shares",
                cells,
                axis_title="share of pairs",
                caption=caption,
                ticks="{:g} %",
            )
        ]
