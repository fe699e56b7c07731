"""Fig. 2: CKA between encoders of one way of training, and of different ones."""

from morefromless.experiments import Experiment, Look, Setting, Study

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

    def studies(self, setting: Setting) -> dict[str, Study]:
        made: dict[str, Study] = {
            "sparse": setting.compare("fig2-sparse", primary=(setting.sparsest,))
        }
        if setting.masks:
            made["masks"] = setting.compare("fig2-masks", primary=(setting.masks,))
        return made

    def looks(self, setting: Setting) -> list[Look]:
        shown = ("cka", "cka-diagonal")
        made = [Look("sparse", setting.sparsest, ARMS, shown)]
        if setting.masks:
            made.append(Look("masks", setting.masks, ARMS, shown))
        return made
