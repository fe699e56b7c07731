"""Fig. S4: confusion matrices of encoders of masks."""

from morefromless.config import StudyConfig
from morefromless.experiments import Experiment, Figure, Setting


class FigS4(Experiment):
    """Cost: the runs are those of Table 2. The paper shows its matrices as a picture, without
    numbers to compare with ours."""

    title = "Fig. S4: confusion of encoders of masks"
    about = (
        "In the paper, classes with nuclei are distinguished well; debris, background and adipose, "
        "whose masks are mostly empty, are not."
    )
    needs = frozenset({"nuclei"})

    def studies(self, setting: Setting) -> dict[str, StudyConfig]:
        assert setting.masks
        return {"masks": setting.study("fig-s4", primary=(setting.masks,))}

    def figures(self, setting: Setting) -> list[Figure]:
        assert setting.masks
        arms = ("asymmetric-independent", "symmetric-shared")
        return [Figure("masks", setting.masks, arms, ("confusion",))]
