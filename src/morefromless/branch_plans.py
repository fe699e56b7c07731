"""Plans of a run's branches, made from its options; `branches` builds them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from morefromless import objectives
from morefromless.config import Role, RunConfig
from morefromless.errors import ConfigError
from morefromless.objectives import Objective
from morefromless.pairs import build_modality
from morefromless.specs import build


@dataclass(frozen=True)
class Plan:
    """One branch as its options describe it, before it is built."""

    name: str
    modality: str
    key: str
    """Key of the weights: `shared`, the branch's own name, or the name of the branch whose weights
    it uses."""
    encoder: str
    channels: int = 3
    frozen: bool = False
    no_expander: bool = False
    """Whether the embedding is the representation."""
    size: int = 224
    """Side length of the encoder's input images in px."""
    target: bool = False
    """Whether the other branch learns this representation; then both embeddings have its width."""

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Input shape of one patch: (channels, size, size), or (length,) of a vector."""
        return build_modality(self.modality).shape(self.size)


def plan_branches(config: RunConfig) -> list[Plan]:
    """Return the plans of the branches that `config` describes, in the objective's order.

    Raises `ConfigError` if branches that share weights differ in architecture, number of channels,
    freezing or expander; if the objective needs a teacher and the arm has none; or if nothing is
    left to train.
    """
    arm, pairing = config.arm, config.pairing
    distillation = arm.kind == "distillation"
    needs_teacher = build(arm.objective, objectives, Objective).needs_teacher
    if needs_teacher and not distillation:
        raise ConfigError(
            f"The objective {arm.objective} needs a teacher, but the arm {arm.kind} has none; give "
            "--kind distillation --teacher ENCODER:weights=FILE, or another --objective."
        )
    plans = []
    for name, spec in arm.modalities.items():
        role: Role = "privileged" if name == "privileged" else "primary"
        privileged = role == "privileged"
        if privileged and distillation:
            plan = teacher_plan(config)
            plans.append(replace(plan, no_expander=needs_teacher, target=needs_teacher))
            continue
        other = pairing.privileged_encoder if privileged else None
        size = pairing.privileged_size if privileged else None
        plans.append(
            Plan(
                name=name,
                modality=spec,
                key=arm.weights_key(name),
                encoder=other or config.train.encoder,
                channels=build_modality(spec).channels,
                frozen=role in pairing.freeze and not distillation,
                no_expander=role in pairing.no_expander and not distillation,
                size=size or config.train.size,
            )
        )
    _check_shared([plan for plan in plans if plan.key == "shared"])
    if all(plan.frozen and plan.no_expander for plan in plans):
        raise ConfigError(
            "Every branch is frozen and has no expander, so nothing is trained; unfreeze one."
        )
    return plans


def teacher_plan(config: RunConfig) -> Plan:
    """Return the plan of a student's frozen teacher, whose input is the privileged modality."""
    pairing, spec = config.pairing, config.arm.privileged
    assert pairing.teacher  # `RunConfig` rejects a student without a teacher
    return Plan(
        name="privileged",
        modality=spec,
        key="privileged",
        encoder=pairing.teacher,
        channels=build_modality(spec).channels,
        frozen=True,
        size=pairing.teacher_size or config.train.size,
    )


def check_width(plan: Plan, features: int, width: int) -> None:
    """Raise `ConfigError` if a branch without an expander has another width than the others."""
    if features != width:
        raise ConfigError(
            f"The branch '{plan.name}' has no expander, so its embeddings have width {features}, "
            f"but the others have width {width}; give --width {features}."
        )


def _check_shared(plans: Sequence[Plan]) -> None:
    """Raise `ConfigError` if these plans cannot share one branch."""
    reasons = {
        "encoder": "have two architectures ({})",
        "channels": "have different numbers of channels ({})",
        "frozen": "are not both frozen or both trained",
        "no_expander": "do not both have, or both lack, an expander",
    }
    for field, reason in reasons.items():
        values = list(dict.fromkeys(str(getattr(plan, field)) for plan in plans))
        if len(values) > 1:
            names = " and ".join(plan.name for plan in plans)
            raise ConfigError(
                f"The branches {names} cannot share weights, as they "
                f"{reason.format(' and '.join(values))}; choose --sharing independent."
            )
