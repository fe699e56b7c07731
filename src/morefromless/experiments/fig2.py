"""Fig. 2: CKA between encoders of one way of training, and of different ones."""

from morefromless.config import StudyConfig
from morefromless.experiments import Experiment, Figure, Setting

ARMS = (
    "asymmetric-independent",
    "symmetric-shared",
    "symmetric-independent",
    "supervised",
    "random",
)


class Fig2(Experiment):
    """Cost: the runs are those of Tables 1 and 2; CKA takes a pass of each encoder."""

    title = "Fig. 2: how alike the layers are"
    about = (
        "In the paper, encoders of one way of training are alike whatever they began from, and "
        "unlike those of other ways, the more so the deeper."
    )
    needs = frozenset({"tissue"})

    def studies(self, setting: Setting) -> dict[str, StudyConfig]:
        studies: dict[str, StudyConfig] = {
            "sparse": setting.study("fig2-sparse", primary=(setting.sparsest,))
        }
        if setting.masks:
            studies["masks"] = setting.study("fig2-masks", primary=(setting.masks,))
        return studies

    def figures(self, setting: Setting) -> list[Figure]:
        stems = ("cka", "cka-diagonal")
        figures = [Figure("sparse", setting.sparsest, ARMS, stems)]
        if setting.masks:
            figures.append(Figure("masks", setting.masks, ARMS, stems))
        return figures
