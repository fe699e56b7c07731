"""The encoders of Table 2: every way of training on two modalities, each with several seeds."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from morefromless.comparison.plan import Kind, placed
from morefromless.options import (
    PretrainOptions,
    Recipe,
    Sharing,
    SuperviseOptions,
    TransferOptions,
)
from morefromless.runs import Run


@dataclass(frozen=True)
class Method:
    """A column of the table: one way of training encoders.

    `learnt` is the objective of self-supervised training, or the task of supervised.
    """

    kind: Kind
    learnt: str
    sharing: Sharing | None = None

    @property
    def title(self) -> str:
        if self.kind == "supervised":
            return f"supervised on {self.learnt}"
        return f"{self.learnt} {self.kind}, {self.sharing}"


@dataclass(frozen=True)
class GridRun:
    """One run: a method with one seed, on one modality or, where asymmetric, on both."""

    method: Method
    modalities: tuple[str, ...]
    seed: int
    options: PretrainOptions | SuperviseOptions

    @property
    def run(self) -> Run:
        return Run(self.options.out)

    def branch(self, modality: str) -> str:
        """Name of the branch that sees a modality."""
        return ("primary", "privileged")[self.modalities.index(modality)]


def methods(options: TransferOptions) -> list[Method]:
    """The columns in the paper's order: each objective's asymmetric and symmetric arms, then the
    supervised encoders by the task that they learnt."""
    kinds: tuple[Kind, ...] = ("asymmetric", "symmetric")
    paired = [
        Method(kind, objective, sharing)
        for objective in options.objectives
        for kind in kinds
        for sharing in options.sharing
    ]
    return [*paired, *(Method("supervised", task) for task in options.tasks)]


def grid(options: TransferOptions, store_hash: str) -> list[GridRun]:
    """Every run, seeds outermost, so that an early look has every method in it."""
    return [
        _run(method, seen, seed, options, store_hash)
        for seed in range(options.seeds)
        for method in methods(options)
        for seen in _seen(method, options)
    ]


def _seen(method: Method, options: TransferOptions) -> Iterator[tuple[str, ...]]:
    if method.kind == "asymmetric":
        yield options.modalities
    else:
        yield from ((modality,) for modality in options.modalities)


def _run(
    method: Method, seen: tuple[str, ...], seed: int, options: TransferOptions, store_hash: str
) -> GridRun:
    common: dict[str, Any] = {field.name: getattr(options, field.name) for field in fields(Recipe)}
    common |= {"primary": seen[0], "seed": seed, "out": Path()}
    made: PretrainOptions | SuperviseOptions
    if method.kind == "supervised":
        common["epochs"] = options.supervised_epochs or options.epochs
        made = SuperviseOptions(**common, task=method.learnt)
    else:
        made = PretrainOptions(
            **common,
            task=options.tasks[0],  # what learning curves ask
            privileged=seen[-1],
            arm=method.kind,
            sharing=method.sharing or "independent",
            objective=method.learnt,
            width=options.width,
        )
    runs = options.runs or options.out / "runs"
    return GridRun(method, seen, seed, placed(made, runs, store_hash))
