"""Branches: one encoder and expander per modality, with explicit sharing of weights.

Figure 1 of the paper: patch -> encoder -> representation y -> expander -> embedding z. The
objective uses only z; the probe uses only y.
"""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from morefromless.branch_plans import Plan, check_width
from morefromless.encoders import Encoder, build_encoder
from morefromless.errors import ConfigError


class Expander(nn.Sequential):
    """The head before the objective (also called "projector"): Linear-BN-ReLU twice, then Linear.

    (B, inputs) -> (B, outputs); `outputs` is by default `width`, the width of the hidden layers.
    The paper says "three dense layers with ReLU activations and output size 8192" (2.2). Its code,
    like VICReg's, has BatchNorm after the first two and neither BatchNorm nor ReLU after the last.
    This class follows the code.
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

    The input of a frozen branch is representations instead of images; they are computed once
    (`training.feed`). A frozen branch never runs its encoder, which stays in evaluation mode.
    """

    def __init__(self, encoder: Encoder, expander: Expander | None, frozen: bool = False) -> None:
        super().__init__()
        self.encoder = encoder.requires_grad_(not frozen)
        self.expander = expander
        self.frozen = frozen

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Branch input -> representation (B, encoder.width), embedding (B, width)."""
        representation = images if self.frozen else self.encoder(images)
        embedding = self.expander(representation) if self.expander else representation
        return representation, embedding

    def train(self, mode: bool = True) -> "Branch":
        super().train(mode)
        self.encoder.train(mode and not self.frozen)
        return self


class Branches(nn.Module):
    """Named branches that are trained together; `shared` means one branch for all names.

    The parameter names show which weights a name uses: `shared.encoder...` or `primary.encoder...`.
    With shared weights, each name still has its own forward pass. So BatchNorm normalises each
    modality separately, as in the published implementations.

    Raises `ConfigError` if a branch without an expander has a representation of another width.
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
        """Run each branch on its images: (representation, embedding) by name."""
        return {name: self[name](images[name]) for name in self.names}
