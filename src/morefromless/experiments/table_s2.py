"""Table S2: Table 1 at the sparsest side, with other encoders."""

from collections.abc import Mapping

from morefromless.config import StudyConfig
from morefromless.evaluation.results import Results
from morefromless.experiments import Cell, Experiment, Setting, first_summary
from morefromless.identity import file_name

ARMS = {
    "asymmetric, independent": {"arm": "asymmetric", "sharing": "independent"},
    "symmetric, shared": {"arm": "symmetric", "sharing": "shared"},
    "supervised": {"arm": "supervised"},
}
"""The paper's columns."""


class TableS2(Experiment):
    """Cost: an encoder's arms at the sparsest side and of the whole patch, times encoders and
    seeds. At full resolution, `asymmetric` is the branch of the whole patch that was paired with
    the sparse patch. A small scale uses small encoders instead of the paper's encoders.
    """

    title = "Table S2: encoders"
    about = (
        "Does the gain depend on the encoder? In the paper, all four encoders gain 5 to 8 points "
        "at 7 x 7 px (independent against shared weights), and lose at full resolution."
    )
    needs = frozenset({"tissue"})

    def studies(self, setting: Setting) -> dict[str, StudyConfig]:
        return {
            name: setting.study(
                f"table-s2-{file_name(name)}",
                primary=(setting.sparsest,),
                encoder=spec,
                dense_arms=True,
            )
            for name, spec in setting.encoders.items()
        }

    def cells(self, results: Mapping[str, Results], setting: Setting) -> list[Cell]:
        sparse, whole = setting.sparsest, setting.whole
        columns = {
            f"{place}: {column}": {**where, "modality": spec}
            for place, spec in (("down-sampled", sparse), ("full", whole))
            for column, where in ARMS.items()
        }
        control = {"arm": "symmetric", "sharing": "independent", "modality": sparse}
        columns["down-sampled: symmetric, independent"] = control
        return [
            Cell(
                name,
                column,
                summary,
                note="" if setting.config.scale == "paper" else f"here {spec}",
            )
            for name, spec in setting.encoders.items()
            for column, where in columns.items()
            if (summary := first_summary(results[name], **where))
        ]
