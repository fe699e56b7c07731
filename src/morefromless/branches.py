"""Branches: an encoder and its expander per modality, with sharing written out.

Figure 1 of the paper: patch -> encoder -> representation y -> expander -> embedding z. The
objective is given z only; the probe y only.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

import torch
from torch import Tensor, nn

from morefromless import encoders, objectives
from morefromless.config import Role, RunConfig
from morefromless.encoders import Encoder
from morefromless.errors import ConfigError, first_line
from morefromless.objectives import Objective
from morefromless.pairs import build_modality
from morefromless.specs import SCHEMES, build, members, normalise, split


class Expander(nn.Sequential):
    """The head before the objective ("projector" elsewhere): Linear-BN-ReLU twice, then Linear.

    (B, inputs) -> (B, outputs), by default as many as `width`, that of the layers between. The
    paper says "three dense layers with ReLU activations and output size 8192" (2.2); its code, like
    VICReg's, has BatchNorm after the first two and neither BatchNorm nor ReLU after the last, which
    is what stands here.
    """

    def __init__(self, inputs: int, width: int = 8192, outputs: int | None = None) -> None:
        super().__init__(
            nn.Linear(inputs, width),
            nn.BatchNorm1d(width),
            nn.ReLU(inplace=True),
            nn.Linear(width, width),
            nn.BatchNorm1d(width),
            nn.ReLU(inplace=True),
            nn.Linear(width, outputs or width),
        )


class Branch(nn.Module):
    """An encoder and an expander; without an expander the representation is the embedding.

    A frozen branch takes representations, which are computed once (`training.feed`), instead of
    images. It never runs its encoder, which stays in evaluation mode.
    """

    def __init__(self, encoder: Encoder, expander: Expander | None, frozen: bool = False) -> None:
        super().__init__()
        self.encoder = encoder.requires_grad_(not frozen)
        self.expander = expander
        self.frozen = frozen

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The branch's input -> representation (B, encoder.width), embedding (B, width)."""
        representation = images if self.frozen else self.encoder(images)
        embedding = self.expander(representation) if self.expander else representation
        return representation, embedding

    def train(self, mode: bool = True) -> "Branch":
        super().train(mode)
        self.encoder.train(mode and not self.frozen)
        return self


@dataclass(frozen=True)
class Plan:
    """One branch as the options describe it, before it is built."""

    name: str
    modality: str
    key: str
    """Of its weights: `shared`, its own name, or the name of the branch whose weights it uses."""
    encoder: str
    channels: int = 3
    frozen: bool = False
    no_expander: bool = False
    """Its embedding is its representation."""
    size: int = 224
    """Side in px of the images that it is given."""
    target: bool = False
    """Its representation is what the other branch learns, so both embeddings are as wide as it."""

    @property
    def input_shape(self) -> tuple[int, ...]:
        """What the encoder takes of one patch: (channels, size, size), or (length,) of a vector."""
        return build_modality(self.modality).shape(self.size)


def plan_branches(config: RunConfig) -> list[Plan]:
    """The branches that `config` describes, in the objective's order.

    Raises `ConfigError` where branches that share weights differ in architecture, number of
    channels, freezing or expander; where the objective needs a teacher and the arm has none; and
    where nothing is left to train.
    """
    arm, pairing = config.arm, config.pairing
    distillation = arm.kind == "distillation"
    needs_teacher = build(arm.objective, objectives, Objective).needs_teacher
    if needs_teacher and not distillation:
        raise ConfigError(
            f"The objective {arm.objective} needs a teacher, and the arm {arm.kind} has none; give "
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
                key="shared" if arm.shared else arm.weight_owner.get(name, name),
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
            "Every branch is frozen and has no expander, so nothing is trained; free one."
        )
    return plans


def teacher_plan(config: RunConfig) -> Plan:
    """The frozen teacher of a student, which sees the privileged modality."""
    pairing, spec = config.pairing, config.arm.privileged
    assert pairing.teacher  # `RunConfig` refuses a student without
    return Plan(
        name="privileged",
        modality=spec,
        key="privileged",
        encoder=pairing.teacher,
        channels=build_modality(spec).channels,
        frozen=True,
        size=pairing.teacher_size or config.train.size,
    )


def _check_shared(plans: Sequence[Plan]) -> None:
    """Raise `ConfigError` where these cannot be one branch under several names."""
    reasons = {
        "encoder": "have two architectures ({})",
        "channels": "have different numbers of channels ({})",
        "frozen": "are not both frozen or both trained",
        "no_expander": "do not both have an expander, or both none",
    }
    for field, reason in reasons.items():
        values = list(dict.fromkeys(str(getattr(plan, field)) for plan in plans))
        if len(values) > 1:
            names = " and ".join(plan.name for plan in plans)
            raise ConfigError(
                f"The branches {names} cannot share weights, as they "
                f"{reason.format(' and '.join(values))}; choose --sharing independent."
            )


class Branches(nn.Module):
    """Named branches that are trained together; `shared` means one branch under every name.

    Which weights a name uses is in the parameter names: `shared.encoder...` or
    `primary.encoder...`. With shared weights each name still makes a pass of its own, so that
    BatchNorm normalises each modality by itself, as in the published implementations.

    Raises `ConfigError` where a branch without expander has a representation of another width.
    """

    def __init__(self, plans: Sequence[Plan], width: int) -> None:
        super().__init__()
        self.names = tuple(plan.name for plan in plans)
        if len(set(self.names)) != len(plans) or len(plans) < 2:
            raise ConfigError(f"Branches need two or more different names, not {self.names}.")
        self.key = {plan.name: plan.key for plan in plans}
        by_key = {plan.key: plan for plan in plans}
        teachers = {
            key: build_encoder(plan.encoder, plan.channels)
            for key, plan in by_key.items()
            if plan.target
        }
        self.width = next((teacher.width for teacher in teachers.values()), width)
        self.by_key = nn.ModuleDict()
        for key, plan in by_key.items():
            encoder = teachers.get(key) or build_encoder(plan.encoder, plan.channels)
            if plan.no_expander:
                check_width(plan, encoder.width, self.width)
            expander = (
                None if plan.no_expander else Expander(encoder.width, width, outputs=self.width)
            )
            self.by_key[key] = Branch(encoder, expander, plan.frozen)

    def __getitem__(self, name: str) -> Branch:
        branch = self.by_key[self.key[name]]
        assert isinstance(branch, Branch)
        return branch

    def forward(self, images: Mapping[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
        """What each name's branch makes of its images: (representation, embedding) by name."""
        return {name: self[name](images[name]) for name in self.names}


def check_width(plan: Plan, features: int, width: int) -> None:
    """Raise `ConfigError` where a branch without expander is not as wide as the others."""
    if features != width:
        raise ConfigError(
            f"The branch '{plan.name}' has no expander, so its embeddings are {features} wide "
            f"and the others' {width}; give --width {features}."
        )


def build_encoder(spec: str, channels: int = 3) -> Encoder:
    """The encoder that `spec` names: a member of the open set, or a timm name by itself.

    >>> build_encoder("mlp:hidden=8", channels=40).width
    8
    """
    given = {} if channels == 3 else {"channels": channels}
    return build(_member(spec), encoders, Encoder, **given)


def normalise_encoder(spec: str, *, without: Collection[str] = ()) -> str:
    """The canonical specification of an encoder, without the parameters `without`.

    >>> normalise_encoder("timm:resnet50,pretrained=false")
    'resnet50'
    """
    text = normalise(_member(spec), encoders, Encoder, without=without)
    if not text.startswith("timm:"):
        return text
    return text.removeprefix("timm:").replace(",", ":", 1)


def _member(spec: str) -> str:
    """A timm name by itself becomes the first argument of the member `timm`."""
    name, arguments = split(spec)
    scheme = name.startswith(SCHEMES)
    if name in members(encoders, Encoder) or (":" in name and not scheme):
        return spec
    return f"timm:{name}" + (f",{arguments}" if arguments else "")


@cache  # studies ask for the same encoders, and one takes a tenth of a second and more
def check_encoder(
    spec: str, shape: tuple[int, ...], frozen: bool = False, checkpointing: bool = False
) -> int:
    """The width of an encoder, which is built and tried on two blank images or vectors of `shape`.

    Raises `ConfigError`, before anything is trained, for what would end a run at its first step. A
    `frozen` encoder must have weights; with `checkpointing`, one that is trained must support it.
    """
    inputs = (
        f"images of {shape[1]} x {shape[2]} px" if len(shape) == 3 else f"vectors of {shape[0]}"
    )
    encoder = build_encoder(spec, shape[0]).eval()
    if frozen and not encoder.pretrained:
        raise ConfigError(
            f"The frozen encoder '{spec}' would keep random weights for ever; give "
            f"weights=FILE or pretrained=true, or an encoder that is `pretrained`."
        )
    if checkpointing and not frozen:
        encoder.checkpoint_gradients()
    try:
        with torch.no_grad():
            output = encoder(torch.zeros(2, *shape))
    except (RuntimeError, AssertionError, ValueError) as error:
        hint = "another --size or another encoder" if len(shape) == 3 else "mlp for them"
        raise ConfigError(
            f"Encoder '{spec}' does not take {inputs} ({first_line(error)}); choose {hint}."
        ) from error
    if output.shape != (2, encoder.width):
        raise ConfigError(
            f"Encoder '{spec}' yields {tuple(output.shape[1:])} per image, not one vector of "
            f"{encoder.width}; choose an encoder with pooled features."
        )
    return encoder.width


def without_weights(encoder: str) -> str:
    """The specification of the same architecture, without the weights that it names."""
    return normalise_encoder(encoder, without=("pretrained", "weights"))


def untrained_network(config: RunConfig) -> nn.Module:
    """A run's network without pretrained weights, on the meta device where that is possible.

    It serves to measure the network: its tensors take no memory.
    """

    def build() -> nn.Module:
        if config.arm.supervised:
            architecture = without_weights(config.train.encoder)
            return build_encoder(architecture, build_modality(config.arm.primary).channels)
        plans = [
            replace(plan, encoder=without_weights(plan.encoder)) for plan in plan_branches(config)
        ]
        return Branches(plans, config.pairing.width)

    try:
        with torch.device("meta"):
            return build()
    except (RuntimeError, ConfigError):  # an encoder that insists on memory
        return build()
