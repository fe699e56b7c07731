"""Fig. 3: where the first convolution looks."""

from morefromless.experiments import Experiment, Look, Setting, Study


class Fig3(Experiment):
    """Cost: none but GradCAM. The paper shows encoders of masks; where a store holds no nuclei,
    encoders of the sparsest patches are shown instead."""

    title = "Fig. 3: GradCAM of the first convolution"
    about = (
        "In the paper's sample the symmetric encoder looks at coarse features and the asymmetric "
        "one at fine ones."
    )

    def studies(self, setting: Setting) -> dict[str, Study]:
        return {"arms": setting.compare("fig3", primary=(setting.masks or setting.sparsest,))}

    def looks(self, setting: Setting) -> list[Look]:
        primary = setting.masks or setting.sparsest
        arms = ("asymmetric-independent", "symmetric-shared")
        return [Look("arms", primary, arms, ("gradcam-first",))]
