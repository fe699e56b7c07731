"""The plan of a comparison: every arm, sparsity and seed, each a run of its own."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from morefromless.options import (
    INCIDENTAL,
    CompareOptions,
    PretrainOptions,
    Recipe,
    Sharing,
    SuperviseOptions,
)
from morefromless.runs import Run, file_name, key_of

Kind = Literal["asymmetric", "symmetric", "trident", "supervised"]
Trained = PretrainOptions | SuperviseOptions
"""Options of one run."""


@dataclass(frozen=True)
class Arm:
    """One way of training: what the encoder of `primary` is trained with."""

    kind: Kind
    sharing: Sharing | None
    primary: str

    @property
    def title(self) -> str:
        return f"{self.kind}, {self.sharing}" if self.sharing else self.kind


@dataclass(frozen=True)
class Planned:
    """One arm with one seed, and the options that train it."""

    arm: Arm
    seed: int
    options: Trained

    @property
    def run(self) -> Run:
        return Run(self.options.out)


def plan(options: CompareOptions, store_hash: str) -> list[Planned]:
    """Every run of a comparison, seeds outermost, so that an early look has every arm in it."""
    sparse = [
        arm
        for primary in options.primary
        for arm in _arms(primary, options.sharing, options.trident)
    ]
    dense = (
        [a for a in _arms(options.privileged, options.sharing, False) if a.kind != "asymmetric"]
        if options.dense_arms
        else []
    )
    return [
        _planned(arm, seed, options, store_hash)
        for seed in range(options.seeds)
        for arm in [*sparse, *dense]
    ]


def _arms(primary: str, sharing: Sequence[Sharing], trident: bool) -> list[Arm]:
    kinds: tuple[Kind, ...] = ("asymmetric", "symmetric")
    paired = [Arm(kind, how, primary) for kind in kinds for how in sharing]
    # TriDeNT's two views of the primary share a branch, and the privileged has its own.
    third = [Arm("trident", "independent", primary)] if trident else []
    return [*paired, *third, Arm("supervised", None, primary)]


def _planned(arm: Arm, seed: int, options: CompareOptions, store_hash: str) -> Planned:
    common: dict[str, Any] = {field.name: getattr(options, field.name) for field in fields(Recipe)}
    common |= {"primary": arm.primary, "task": options.task, "seed": seed, "out": Path()}
    if arm.primary == options.privileged:  # a dense arm
        common["encoder"] = options.privileged_encoder or options.encoder
    made: Trained
    if arm.kind == "supervised":
        common["epochs"] = options.supervised_epochs or options.epochs
        made = SuperviseOptions(**common)
    else:
        made = PretrainOptions(
            **common,
            # A symmetric arm does not see the privileged modality: it must not make it another run.
            privileged=arm.primary if arm.kind == "symmetric" else options.privileged,
            arm=arm.kind,
            sharing=arm.sharing or "independent",
            objective=options.objective,
            width=options.width,
            **({} if arm.kind == "symmetric" else _of_privileged(options, arm.kind)),
        )
    return Planned(arm, seed, placed(made, options.runs or options.out / "runs", store_hash))


def placed(made: Trained, runs: Path, store_hash: str) -> Trained:
    """The options of a run with its folder below `runs`, named after what determines it.

    So two comparisons that share `runs` share every run that they both want.
    """
    supervised = isinstance(made, SuperviseOptions)
    unseen = set() if supervised else {"task"}  # no labels, so no other run
    kind = "supervise" if supervised else "pretrain"
    key = key_of(kind, made, store_hash, INCIDENTAL | unseen)
    how = ["supervised"] if isinstance(made, SuperviseOptions) else [made.arm, made.sharing]
    words: list[str] = [*how, file_name(made.primary), f"s{made.seed}", key[:6]]
    return replace(made, out=runs / "-".join(words))


def _of_privileged(options: CompareOptions, kind: Kind) -> dict[str, Any]:
    """What has no bearing on a symmetric arm, so must not make it another run."""
    names = ("privileged_encoder", "freeze", "bare", "pairs")
    missing = {"missing": options.missing} if kind == "trident" else {}
    return {name: getattr(options, name) for name in names} | missing
