"""Which two ways of training are compared with each other in a study."""

from collections.abc import Iterable, Iterator

from morefromless.config import StudyConfig
from morefromless.evaluation.results import Condition

Comparison = tuple[str, Condition, Condition]
"""A name, and the two conditions whose difference is tested: the first minus the second."""


def comparisons(conditions: Iterable[Condition], config: StudyConfig) -> list[Comparison]:
    """The comparisons of every task, modality and objective, in the order of the tables.

    Like is compared with like; the paper's own headline, independent against shared weights, is
    there too and says so.
    """
    conditions = list(conditions)
    return [
        comparison
        for task in config.tasks
        for spec in config.contrasted
        for objective in config.objectives
        for comparison in _pairs(_arms(conditions, task, spec, objective), task, config)
    ]


Arms = dict[tuple[str, str], Condition]
"""The arms of one task, modality and objective by kind and variant."""


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
        if task == config.tasks[0]:  # whose labels both learnt
            yield from pair(a, ("supervised", ""), f"fine-tuned asymmetric {sharing} - supervised")
    for student in [arm for arm in arms if arm[0] == "distillation"]:
        for kind in ("symmetric", "asymmetric"):
            b = (kind, "independent")
            yield from pair(student, b, f"distillation, {student[1]} - {kind} independent")
    if not config.both_ways:  # there, supervised encoders are asked tasks that they did not learn
        for sharing in ("shared", "independent"):
            a, b = ("asymmetric", sharing), ("supervised", "")
            yield from pair(a, b, f"asymmetric {sharing} - supervised")
