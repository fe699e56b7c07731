"""The tables of a study: a view of its results, for the terminal and Markdown.

A study of one task and one objective has a table of arms for each modality; one of several has
grids as the paper's Table 2: rows are a task and a modality, columns are ways of training.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
from rich.console import Console

from morefromless import files
from morefromless.evaluation.evaluate import Answer
from morefromless.evaluation.intervals import bootstrap
from morefromless.evaluation.metrics import accuracy
from morefromless.evaluation.results import Results, Summary
from morefromless.questions import Reply
from morefromless.report.section import Report, Section, interval, p_value, rough_note
from morefromless.report.terminal import say
from morefromless.report.words import ROUGH, metric_title, metric_value, minus, rough

TESTS = (
    "A difference's 95 % interval is Student's, over seeds and test {units}. p is the larger of "
    "two: that t test's, and an exact sign-flip test's of the same test patches; Holm-corrected "
    "for all contrasts of the study. Better or worse is said only where it is below 0.05; then the "
    "interval excludes zero. With one seed of either arm there is no verdict: what is said then "
    "holds for these encoders, not for the ways of training."
)

REFERENCES = (
    "References are published encoders, frozen, through the same probe; a teacher is among them. "
    "They were trained on other data, so no arm is contrasted with them."
)


def write(results: Results, folder: Path) -> list[Path]:
    """`results.md` and `results.tex` in `folder`, and as CSV what they are made of: means with
    intervals and contrasts. Single runs are `Results.save`'s."""
    content = report(results)
    paths = [content.write(folder / "results.md"), folder / "results.tex"]
    files.write_text(paths[1], content.latex())
    frames = {"summary": summary_frame(results), "contrasts": contrast_frame(results)}
    for name, frame in frames.items():
        paths.append(folder / f"{name}.csv")
        files.write_csv(paths[-1], frame)
    return paths


def summary_frame(results: Results) -> pd.DataFrame:
    """A line a condition and metric: its mean over seeds, with bounds where it has them."""
    lines = []
    for summary in results.summaries:
        for metric, mean in summary.means.items():
            bounded = summary.intervals.get(metric)
            lines.append(
                {
                    **vars(summary.condition),
                    "metric": metric,
                    "mean": mean,
                    "low": bounded.low if bounded else None,
                    "high": bounded.high if bounded else None,
                    "seeds": len(summary.accuracies),
                }
            )
    return pd.DataFrame(lines)


def contrast_frame(results: Results) -> pd.DataFrame:
    """A line a contrast: a minus b, with bounds, p before and after Holm's correction."""
    return pd.DataFrame(
        {
            "contrast": c.name,
            "task": c.a.task,
            "modality": c.a.modality,
            "objective": c.a.objective,
            "difference": c.difference.estimate,
            "low": c.difference.low,
            "high": c.difference.high,
            "p": c.p,
            "holm_p": c.holm_p,
            "verdict": c.text,
        }
        for c in results.contrasts
    )


def show(results: Results, console: Console) -> None:
    """The tables and notes in the terminal."""
    report(results).show(console)


def arms_and_contrasts(results: Results) -> Report:
    """The tables without what holds for all of them."""
    return replace(report(results), notes=[])


def report(results: Results) -> Report:
    """The tables in every form."""
    config = results.config
    title = f"{', '.join(config.primary)} with {config.privileged}"
    several = len(config.tasks) > 1 or len(config.objectives) > 1
    sections = _grids(results) if several else _tables(results)
    sections = [*sections, _contrasts(results)]
    return Report(f"Comparison: {title}", sections, [*rough_note(sections), *notes(results)])


def notes(results: Results) -> list[str]:
    """What holds for all the tables: data, protocol, and what they do not show."""
    config, data = results.config, results.data
    train, unit = config.train, results.summaries[0].accuracy.unit
    lines = [
        f"{train.encoder} at {train.size} px, {', '.join(config.objectives)}, width "
        f"{config.pairing.width}, views {train.views}, {train.epochs} epochs of batches of "
        f"{train.batch}, lr {train.lr:g}, seeds 0-{config.seeds - 1}; {config.probe.name} probe."
    ]
    for task, classes in data.classes.items():
        each = ", ".join(f"{name} {train:,} / {test:,}" for name, (train, test) in classes.items())
        lines.append(f"Task {task}, training / test patches: {each}.")
    units = "groups" if unit == "group" else "patches"
    chance = "and seeds." if config.seeds > 1 else "; one seed: chance between seeds is not in it."
    lines.append(
        "Accuracy in per cent is the mean over seeds, in brackets the 95 % bootstrap interval over "
        f"{units} {chance}"
    )
    if any(s.head for s in results.summaries) and len(config.tasks) > 1:
        lines.append(
            "A supervised encoder answers its own task with its own head (marked *), any other "
            "with a probe of the frozen encoder, as all others."
        )
    if config.references:
        lines.append(REFERENCES)
    lines.append(TESTS.format(units=units))
    lines += [*_untrained(results), _curves(results), *floor_notes(results), *results.caveats]
    return lines


def floor_notes(results: Results) -> list[str]:
    """Where no arm is above the highest floor."""
    several = len(results.config.tasks) > 1
    return [
        f"No arm on {one.modality}{f', task {one.task}' if several else ''} is above the floor "
        f"{one.floor} ({100 * one.floor_accuracy:.1f} %); the best is {one.arm} "
        f"({100 * one.arm_accuracy:.1f} %). So the worth of what was learnt is not shown there."
        for one in results.floors_not_exceeded
    ]


def _untrained(results: Results) -> list[str]:
    idle = [
        f"{s.condition.title} on {s.condition.modality} ({s.not_above})"
        for s in results.summaries
        if s.not_above
    ]
    if not idle:
        return []
    return [
        f"Not above a floor that needs no training, so not trained: {'; '.join(idle)}. Contrasts "
        "with them get no verdict."
    ]


def _curves(results: Results) -> str:
    arms = [s for s in results.summaries if s.condition.trained]
    rising = dict.fromkeys(
        f"{s.condition.title} on {s.condition.modality}" for s in arms if s.rising
    )
    if results.curves.empty:
        return (
            "No learning curves were drawn (--probe-every), so whether the arms had finished "
            "rising is not known."
        )
    if rising:
        return (
            f"Still rising when training ended: {'; '.join(rising)}. Train longer before comparing "
            "these."
        )
    if all(s.rising is None for s in arms):
        return (
            "The learning curves have fewer than 8 points, too few to tell whether the arms had "
            "finished rising; give a lower --probe-every."
        )
    return "No arm's learning curve was still rising when training ended."


def _tables(results: Results) -> list[Section]:
    """A table of each modality: its arms, then its floors."""
    config = results.config
    sections = []
    for spec in config.modalities:
        rows = results.select(lambda c, spec=spec: c.modality == spec)  # type: ignore[misc]
        if all(s.condition.floor for s in rows):
            continue
        role = "the privileged modality, " if spec == config.privileged else ""
        sections.append(_arms(f"Encoders of {role}{spec} ({_density(rows[0])})", rows))
    return sections


def _arms(title: str, rows: Sequence[Summary]) -> Section:
    metrics = [name for name in rows[0].means if name != "accuracy"]
    header = ("arm", "accuracy", *map(metric_title, metrics), "seeds", "curve")
    lines = []
    for summary in rows:
        condition = summary.condition
        partner = f", with {condition.partner}" if condition.partner else ""
        name = condition.title + (partner if _ambiguous(summary, rows) else "")
        curve = {True: "rising", False: "flat", None: ""}[summary.rising]
        lines.append(
            (
                name + (f" (not above {summary.not_above})" if summary.not_above else ""),
                interval(summary.accuracy),
                *(metric_value(name, summary.means[name]) for name in metrics),
                " ".join(f"{100 * value:.1f}" for value in summary.accuracies),
                curve,
            )
        )
    return Section(title, header, lines)


def _ambiguous(summary: Summary, rows: Sequence[Summary]) -> bool:
    """Whether an arm of a privileged modality was trained with several primary ones."""
    partners = {s.condition.partner for s in rows if s.condition.title == summary.condition.title}
    return len(partners) > 1


def _grids(results: Results) -> list[Section]:
    """Rows are a task and what the encoder is given; columns are methods."""
    arms = [s for s in results.summaries if s.condition.trained]
    supervised = [s for s in arms if s.condition.arm == "supervised"]
    sections = []
    for objective in results.config.objectives:
        rows = [
            s
            for s in arms
            if s.condition.objective == objective and s.condition.arm != "distillation"
        ]
        titles = [s.condition.title for s in rows]
        sections.append(
            _grid(f"{objective}, frozen, {results.config.probe.name} probe", rows, titles)
        )
    students = [s for s in arms if s.condition.arm == "distillation"]
    if students:
        titles = [s.condition.title for s in students]
        sections.append(_grid("Students of a frozen teacher, linear probe", students, titles))
    titles = [f"supervised on {s.condition.objective}" for s in supervised]
    sections.append(_grid("Supervised encoders", supervised, titles))
    if references := results.select(lambda c: c.reference):
        titles = [s.condition.encoder for s in references]
        sections.append(_grid("References", references, titles))
    floors = results.select(lambda c: c.floor)
    sections.append(_grid("Floors", floors, [s.condition.arm for s in floors]))
    return sections


def _grid(title: str, summaries: Sequence[Summary], columns: Sequence[str]) -> Section:
    header = tuple(dict.fromkeys(columns))
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for summary, column in zip(summaries, columns, strict=True):
        text = interval(summary.accuracy) + (" *" if summary.head else "")
        text += f" (not above {summary.not_above})" if summary.not_above else ""
        key = (summary.condition.task, summary.condition.modality)
        rows.setdefault(key, {})[column] = text
    lines = [
        (f"{task}: {spec}", *(row.get(name, "") for name in header))
        for (task, spec), row in rows.items()
    ]
    return Section(title, ("task: modality", *header), lines)


def _contrasts(results: Results) -> Section:
    config = results.config
    several = len(config.tasks) > 1 or len(config.objectives) > 1 or len(config.asked) > 1
    lines = []
    for contrast in results.contrasts:
        a = contrast.a
        where = f"{a.task}: {a.modality}, {a.objective}" if several else ""
        lines.append(
            (
                f"{where}: {contrast.name}" if where else contrast.name,
                interval(contrast.difference, signed=True),
                p_value(contrast.holm_p),
                contrast.text,
            )
        )
    header = ("contrast", "points", "p (Holm)", "verdict")
    return Section("What the privileged modality bought", header, lines)


def _density(summary: Summary) -> str:
    if not summary.resolution:
        return "vectors"
    magnification = f", {summary.um_per_px:.3g} µm/px" if summary.um_per_px else ""
    return f"{summary.resolution} x {summary.resolution} px of information{magnification}"


def reply_section(reply: Reply) -> Section:
    """The answer to a question as a table: its rows, and a column a branch or number."""
    columns = list(dict.fromkeys(score.column for score in reply.scores))
    cells: dict[str, dict[str, str]] = {}
    for score in reply.scores:
        scale, form = (100, ".1f") if reply.share else (1, ".3f")
        spread = "" if score.spread is None else f" ± {scale * score.spread:{form}}"
        value = minus(f"{scale * score.value:{form}}")
        cells.setdefault(score.row, {})[score.column] = value + spread
    rows = [(name, *(line.get(column, "") for column in columns)) for name, line in cells.items()]
    return Section(reply.title, ("", *columns), rows, reply.notes)


def show_answers(answers: Sequence[Answer], console: Console) -> None:
    """What each branch of one run reached, in the terminal."""
    if not answers:
        say(console, "No test patch has a view of this run, so there is nothing to ask.")
        return
    metrics = [name for name in answers[0].scores.values if name != "accuracy"]
    lines = []
    for answer in answers:
        store, scores = answer.store, answer.scores
        reached = bootstrap(
            accuracy,
            answer.probabilities.argmax(1),
            answer.labels,
            classes=len(store.classes),
            groups=store.groups("test"),
        )
        values = (metric_value(name, scores.values[name]) for name in metrics)
        frozen = answer.frozen
        lines.append((frozen.name, frozen.modality_spec, interval(reached), *values))
    header = ("branch", "modality", "accuracy", *map(metric_title, metrics))
    Section("", header, lines).show(console)
    if rough(reached):
        say(console, ROUGH)
    recalls = zip(*(answer.scores.recall for answer in answers), strict=True)
    rows = [
        (name, *("-" if recall is None else f"{100 * recall:.1f}" for recall in of_class))
        for name, of_class in zip(answers[0].store.classes, recalls, strict=True)
    ]
    Section("", ("recall %", *(a.frozen.name for a in answers)), rows).show(console)
    for caveat in answers[0].store.caveats:
        say(console, f"- {caveat}")
