"""The tables of `mfl probe`: scores of each branch of a run, and replies to questions."""

import math
from collections.abc import Sequence

from morefromless.evaluation.evaluate import Answer
from morefromless.evaluation.intervals import bootstrap
from morefromless.evaluation.metrics import accuracy
from morefromless.questions import Reply
from morefromless.report.section import Section, interval, unreliable_note
from morefromless.report.terminal import say
from morefromless.report.words import metric_title, metric_value, minus


def show_scores(answers: Sequence[Answer]) -> None:
    """Print the scores of each branch of one run in the terminal."""
    if not answers:
        say(
            "No view of this run has both test patches and training patches of two classes, so "
            "there is nothing to evaluate."
        )
        return
    metrics = [name for name in answers[0].scores.values if name != "accuracy"]
    lines = []
    for answer in answers:
        store, scores = answer.store, answer.scores
        accuracy_interval = bootstrap(
            accuracy,
            answer.probabilities.argmax(1),
            answer.labels,
            classes=len(store.classes),
            groups=store.groups("test"),
        )
        values = (metric_value(name, scores.values[name]) for name in metrics)
        frozen = answer.frozen
        lines.append((frozen.name, frozen.modality_spec, interval(accuracy_interval), *values))
    header = ("branch", "modality", "accuracy", *map(metric_title, metrics))
    table = Section("", header, lines)
    table.show()
    for note in unreliable_note([table]):
        say(note)
    recalls = zip(*(answer.scores.recall for answer in answers), strict=True)
    rows = [
        (name, *("-" if recall is None else f"{100 * recall:.1f}" for recall in of_class))
        for name, of_class in zip(answers[0].store.classes, recalls, strict=True)
    ]
    Section("", ("recall %", *(a.frozen.name for a in answers)), rows).show()
    for caveat in answers[0].store.caveats:
        say(f"- {caveat}")


def reply_section(reply: Reply) -> Section:
    """A reply as a table, with one column per branch or number."""
    columns = list(dict.fromkeys(score.column for score in reply.scores))
    cells: dict[str, dict[str, str]] = {}
    for score in reply.scores:
        scale, form = (100, ".1f") if reply.share else (1, ".3f")
        spread = "" if score.spread is None else f" ± {scale * score.spread:{form}}"
        undefined = math.isnan(score.value)
        value = "–" if undefined else minus(f"{scale * score.value:z{form}}")
        cells.setdefault(score.row, {})[score.column] = value + spread
    rows = [(name, *(line.get(column, "") for column in columns)) for name, line in cells.items()]
    return Section(reply.title, ("", *columns), rows, reply.notes)
