"""Table 2: image and nuclei mask, each the other's partner, asked for tissue and for cells."""

from morefromless.comparison.transfer import Transfer
from morefromless.experiments import Experiment, Found, Number, Setting, Study

PUBLISHED = {
    ("tissue", "masks"): (0.5809, 0.5338, 0.5600, 0.5454, 0.5909, 0.5345),
    ("tissue", "images"): (0.8979, 0.8855, 0.8850, 0.9075, 0.9451, 0.9314),
    ("cell", "masks"): (0.8650, 0.8158, 0.8540, 0.8235, 0.9103, 0.9365),
    ("cell", "images"): (0.8127, 0.6904, 0.8038, 0.6914, 0.7045, 0.8205),
}
COLUMNS = (
    ("vicreg", "asymmetric"),
    ("vicreg", "symmetric"),
    ("simclr", "asymmetric"),
    ("simclr", "symmetric"),
    ("tissue", "supervised"),
    ("cell", "supervised"),
)
SHARING = {"asymmetric": "independent", "symmetric": "shared", "supervised": None}
"""The weights of the paper's columns, told by Table S3."""


class Table2(Experiment):
    """Cost: two objectives with 6 self-supervised arms each, and a supervised arm a modality and
    task, times seeds. The supervised encoders answer their own task with their own head."""

    title = "Table 2: tissue-nuclei distillation"
    about = (
        "Masks of nuclei and images of the same patches teach each other. In the paper masks gain "
        "on both tasks; images gain on the nuclei's (0.813 against 0.690 with VICReg), and on "
        "tissue with VICReg only."
    )
    needs = frozenset({"nuclei"})

    def studies(self, setting: Setting) -> dict[str, Study]:
        assert setting.masks
        both = tuple(setting.objective(name) for name in ("vicreg", "simclr"))
        modalities = (setting.masks, setting.whole)
        return {"table2": setting.transfer("table2", modalities=modalities, objectives=both)}

    def numbers(self, found: Found, setting: Setting) -> list[Number]:
        transfer = found["table2"]
        assert isinstance(transfer, Transfer)
        called = {setting.masks: "masks", setting.whole: "images"}
        objectives = {setting.objective(name): name for name in ("vicreg", "simclr")}
        made = []
        for cell in transfer.cells:
            method, seen = cell.method, called[cell.modality]
            learnt = objectives.get(method.learnt, method.learnt)
            column = f"{learnt} {method.kind}" + (f", {method.sharing}" if method.sharing else "")
            published = None
            if SHARING[method.kind] == method.sharing:
                place = COLUMNS.index((learnt, method.kind))
                published = PUBLISHED[cell.task, seen][place]
            made.append(
                Number(
                    f"{cell.task}: {seen}",
                    column,
                    cell.accuracy,
                    cell.accuracies,
                    published,
                    "Table 2" if published else "",
                )
            )
        return made
