"""Fig. 3: GradCAM of the first convolution."""

from morefromless.config import StudyConfig
from morefromless.experiments import Experiment, Figure, Setting


class Fig3(Experiment):
    """Cost: GradCAM only. The paper shows encoders of masks; if a store contains no nuclei,
    encoders of the sparsest patches are shown instead."""

    title = "Fig. 3: GradCAM of the first convolution"
    about = (
        "In the paper's sample, the symmetric encoder uses coarse features, and the asymmetric "
        "encoder uses fine features."
    )

    def studies(self, setting: Setting) -> dict[str, StudyConfig]:
        return {"arms": setting.study("fig3", primary=(setting.masks or setting.sparsest,))}

    def figures(self, setting: Setting) -> list[Figure]:
        primary = setting.masks or setting.sparsest
        arms = ("asymmetric-independent", "symmetric-shared")
        return [Figure("arms", primary, arms, ("gradcam-first",))]
