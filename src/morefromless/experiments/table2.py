"""Table 2: image and nuclei mask, each the other's partner, asked for tissue and for cells."""

from collections.abc import Mapping

from morefromless.config import StudyConfig
from morefromless.evaluation.results import Results
from morefromless.experiments import Cell, Experiment, Setting


class Table2(Experiment):
    """Cost: two objectives with 6 self-supervised arms each, and a supervised arm a modality and
    task, times seeds. The supervised encoders answer their own task with their own head. The
    sharing of the paper's columns is known from its Table S3."""

    title = "Table 2: tissue-nuclei distillation"
    about = (
        "Masks of nuclei and images of the same patches teach each other. In the paper masks gain "
        "on both tasks; images gain on the nuclei's (0.813 against 0.690 with VICReg), and on "
        "tissue with VICReg only."
    )
    needs = frozenset({"nuclei"})

    def studies(self, setting: Setting) -> dict[str, StudyConfig]:
        assert setting.masks
        objectives = tuple(setting.objective(name) for name in ("vicreg", "simclr"))
        study = setting.study(
            "table2",
            primary=(setting.masks,),
            tasks=setting.tasks,
            objectives=objectives,
            both_ways=True,
        )
        return {"table2": study}

    def cells(self, results: Mapping[str, Results], setting: Setting) -> list[Cell]:
        titles = {setting.masks: "masks", setting.whole: "images"}
        objectives = {setting.objective(name): name for name in ("vicreg", "simclr")}
        cells = []
        for summary in results["table2"].select(lambda c: not c.floor):
            condition = summary.condition
            column = f"supervised on {condition.objective}"
            if condition.arm != "supervised":
                column = f"{objectives[condition.objective]} {condition.title}"
            row = f"{condition.task}: {titles[condition.modality]}"
            cells.append(Cell(row, column, summary))
        rows = list(dict.fromkeys(cell.row for cell in cells))
        return sorted(cells, key=lambda cell: rows.index(cell.row))
