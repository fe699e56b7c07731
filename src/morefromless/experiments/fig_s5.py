"""Fig. S5: GradCAM of each stage."""

from morefromless.config import StudyConfig
from morefromless.experiments import Experiment, Figure, Setting


class FigS5(Experiment):
    """Cost: GradCAM only; the runs are those of Fig. 3."""

    title = "Fig. S5: GradCAM of the first convolution of every stage"
    about = "In the paper, all stages show the difference of Fig. 3."

    def studies(self, setting: Setting) -> dict[str, StudyConfig]:
        return {"arms": setting.study("fig-s5", primary=(setting.masks or setting.sparsest,))}

    def figures(self, setting: Setting) -> list[Figure]:
        primary = setting.masks or setting.sparsest
        arms = ("asymmetric-independent", "symmetric-shared")
        return [Figure("arms", primary, arms, ("gradcam-stages",))]
