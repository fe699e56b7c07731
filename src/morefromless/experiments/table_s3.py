"""Table S3: SimCLR and VICReg, shared and independent weights."""

from collections.abc import Mapping

from morefromless.config import StudyConfig
from morefromless.evaluation.results import Results
from morefromless.experiments import Cell, Experiment, Setting, first_summary


class TableS3(Experiment):
    """Cost: the runs of VICReg are those of Table 1; SimCLR adds 4 arms at the sparsest side and 2
    of the whole patch, times seeds."""

    title = "Table S3: objectives and sharing"
    about = (
        "Does the gain depend on the objective, or on sharing? In the paper it is 5.4 and 2.6 "
        "points with SimCLR (shared, independent), and 8.0 and 3.6 points with VICReg."
    )
    needs = frozenset({"tissue"})

    def studies(self, setting: Setting) -> dict[str, StudyConfig]:
        return {
            name: setting.study(
                f"table-s3-{name}",
                primary=(setting.sparsest,),
                objectives=(setting.objective(name),),
                dense_arms=True,
            )
            for name in ("simclr", "vicreg")
        }

    def cells(self, results: Mapping[str, Results], setting: Setting) -> list[Cell]:
        sparse, whole = setting.sparsest, setting.whole
        columns = {
            "down-sampled: asymmetric": {"arm": "asymmetric", "modality": sparse},
            "down-sampled: symmetric": {"arm": "symmetric", "modality": sparse},
            "full: asymmetric": {"arm": "asymmetric", "modality": whole},
            "full: symmetric": {"arm": "symmetric", "modality": whole},
        }
        return [
            Cell(f"{objective}, {sharing}", column, summary)
            for objective in ("simclr", "vicreg")
            for sharing in ("shared", "independent")
            for column, where in columns.items()
            if (summary := first_summary(results[objective], **where, sharing=sharing))
        ]
