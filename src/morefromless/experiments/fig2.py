"""Fig. 2: CKA between encoders of the same arm, and of different arms."""

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
    """Cost: the runs are those of Tables 1 and 2; CKA needs one pass of each encoder."""

    title = "Fig. 2: similarity of layers"
    about = (
        "In the paper, encoders of the same arm are similar regardless of their initial weights. "
        "They differ from encoders of other arms, most in the deep layers."
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
