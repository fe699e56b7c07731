"""Learning curves: one panel per modality and objective."""

import numpy as np
from matplotlib.figure import Figure

from morefromless.evaluation.results import ENCODER_FIELDS, Condition, Results
from morefromless.report.style import COLUMN_WIDTH, PAGE_WIDTH, format_axes, line_styles


def curves(results: Results) -> Figure:
    """Learning curves: one panel per modality and objective, one line per mean over seeds.

    Thin lines are the runs. Supervised encoders of the first task, and students of a frozen
    teacher, are in every panel.
    """
    config, table = results.config, results.curves
    students = table["arm"] == "distillation"
    keyed = table.assign(task=config.tasks[0])[[*ENCODER_FIELDS, "task"]]
    conditions = [Condition(*key) for key in keyed.itertuples(index=False)]
    table = table.assign(condition=np.array(conditions, dtype=object))
    styles = line_styles((c.arm, c.variant) for c in conditions)
    keys = [
        (spec, objective)
        for spec in dict.fromkeys(table["modality"])
        for objective in config.objectives
    ]
    width = max(PAGE_WIDTH, 1.8 * len(keys)) if len(keys) > 1 else 1.5 * COLUMN_WIDTH
    figure = Figure(figsize=(width, 3.4), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(keys), sharey=True, squeeze=False)[0])
    for axes, (spec, objective) in zip(panels, keys, strict=True):
        in_panel = table["objective"].isin([objective, config.tasks[0]]) | students
        points = table[(table["modality"] == spec) & in_panel]
        for condition, arm_points in points.groupby("condition", sort=False):
            line = {**styles[condition.arm, condition.variant], "marker": ""}
            runs = [run for _, run in arm_points.groupby("run", sort=False)]
            for run in runs:
                axes.plot(run["step"], 100 * run["accuracy"], linewidth=0.5, alpha=0.4, **line)
            length = min(map(len, runs))
            mean = np.mean([run["accuracy"].to_numpy()[:length] for run in runs], axis=0)
            label = condition.title + results.with_partner(condition)
            steps = runs[0]["step"][:length]
            axes.plot(steps, 100 * mean, linewidth=1.8, label=label, **line)
        axes.set_title(spec if len(config.objectives) == 1 else f"{spec}, {objective}")
        axes.set_xlabel("training steps")
        format_axes(axes)
    panels[0].set_ylabel("ridge probe on test patches (%)")
    lines = {str(line.get_label()): line for axes in panels for line in axes.get_lines()}
    # The labels of single runs start with "_".
    legend_lines = {label: line for label, line in lines.items() if not label.startswith("_")}
    figure.legend(
        list(legend_lines.values()),
        list(legend_lines),
        loc="outside lower center",
        ncols=3,
        frameon=False,
        fontsize=7,
    )
    return figure
