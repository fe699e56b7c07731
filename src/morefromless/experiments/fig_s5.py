"""Fig. S5: where each stage looks."""

from morefromless.experiments import Experiment, Look, Setting, Study


class FigS5(Experiment):
    """Cost: none but GradCAM; the runs are Fig. 3's."""

    title = "Fig. S5: GradCAM of the first convolution of every stage"
    about = "In the paper the difference of Fig. 3 is seen in all stages."

    def studies(self, setting: Setting) -> dict[str, Study]:
        return {"arms": setting.compare("fig-s5", primary=(setting.masks or setting.sparsest,))}

    def looks(self, setting: Setting) -> list[Look]:
        primary = setting.masks or setting.sparsest
        arms = ("asymmetric-independent", "symmetric-shared")
        return [Look("arms", primary, arms, ("gradcam-stages",))]
