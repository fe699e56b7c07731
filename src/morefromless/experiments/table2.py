"""Table 2: image and nuclei mask as partners, evaluated on the tissue task and the cell task."""

from collections.abc import Mapping

from morefromless.config import StudyConfig
from morefromless.evaluation.results import Results
from morefromless.experiments import Cell, Experiment, Setting


class Table2(Experiment):
    """Cost: two objectives with 6 self-supervised arms each, and a supervised arm per modality and
    task, times seeds. The supervised encoders predict their own task with their own head. The
    sharing of the paper's columns is stated in its Table S3."""

    title = "Table 2: tissue-nuclei distillation"
    about = (
        "Images and nuclei masks of the same patches are each other's privileged view. In the "
        "paper, masks gain on both tasks; images gain on the nuclei task (0.813 against 0.690 "
        "with VICReg), and on the tissue task with VICReg only."
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
