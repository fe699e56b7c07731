"""The pairs of training methods that a study compares."""

from collections.abc import Iterable, Iterator

from morefromless.config import StudyConfig
from morefromless.evaluation.results import Condition

Comparison = tuple[str, Condition, Condition]
"""A name, and two conditions; the first minus the second is tested."""


def comparisons(conditions: Iterable[Condition], config: StudyConfig) -> list[Comparison]:
    """List the comparisons of every task, modality and objective, in the order of the tables.

    Two arms with a sharing are compared only if it is the same. The exception is the paper's
    headline comparison, independent against shared weights, which is named as such.
    """
    conditions = list(conditions)
    return [
        comparison
        for task in config.tasks
        for spec in config.compared_modalities
        for objective in config.objectives
        for comparison in _pairs(_arms(conditions, task, spec, objective), task, config)
    ]


Arms = dict[tuple[str, str], Condition]
"""The arms of one task, modality and objective, by kind and variant."""


def _arms(conditions: Iterable[Condition], task: str, spec: str, objective: str) -> Arms:
    return {
        (c.arm, c.variant): c
        for c in conditions
        if (c.task, c.modality) == (task, spec)
        and (
            c.objective == objective
            or (c.arm, c.objective) == ("supervised", task)
            or c.arm == "distillation"
        )
    }


def _pairs(arms: Arms, task: str, config: StudyConfig) -> Iterator[Comparison]:
    def pair(a: tuple[str, str], b: tuple[str, str], name: str) -> Iterator[Comparison]:
        if a in arms and b in arms:
            yield name, arms[a], arms[b]

    for sharing in ("shared", "independent"):
        a, b = ("asymmetric", sharing), ("symmetric", sharing)
        yield from pair(a, b, f"asymmetric - symmetric, both {sharing}")
    yield from pair(
        ("asymmetric", "independent"),
        ("symmetric", "shared"),
        "asymmetric independent - symmetric shared (the paper's headline)",
    )
    for kind in ("symmetric", "asymmetric"):
        a, b = ("trident", "independent"), (kind, "independent")
        yield from pair(a, b, f"trident - {kind}, both independent")
    for sharing in ("shared", "independent"):
        a, b = (("fine-tuned", f"{start}, {sharing}") for start in ("asymmetric", "symmetric"))
        yield from pair(a, b, f"fine-tuned: asymmetric - symmetric, both {sharing}")
        if task == config.tasks[0]:  # both were trained on its labels
            yield from pair(a, ("supervised", ""), f"fine-tuned asymmetric {sharing} - supervised")
    for student in [arm for arm in arms if arm[0] == "distillation"]:
        for kind in ("symmetric", "asymmetric"):
            b = (kind, "independent")
            yield from pair(student, b, f"distillation, {student[1]} - {kind} independent")
    if not config.both_ways:  # else supervised encoders have tasks that they were not trained on
        for sharing in ("shared", "independent"):
            a, b = ("asymmetric", sharing), ("supervised", "")
            yield from pair(a, b, f"asymmetric {sharing} - supervised")
