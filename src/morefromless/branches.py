"""Branches: an encoder and its expander per modality, with sharing written out.

Figure 1 of the paper: patch -> encoder -> representation y -> expander -> embedding z. The
objective is given z only; the probe y only.
"""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from morefromless.branch_plans import Plan, check_width
from morefromless.encoders import Encoder, build_encoder
from morefromless.errors import ConfigError


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
