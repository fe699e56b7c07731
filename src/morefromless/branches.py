"""Branches: an encoder and its expander per modality, with sharing written out.

Figure 1 of the paper: patch -> encoder -> representation y -> expander -> embedding z. The
objective sees z only; the probe sees y only.
"""

from collections.abc import Mapping

import timm
import torch
from torch import Tensor, nn

from morefromless import encoders
from morefromless.encoders import Encoder
from morefromless.errors import ConfigError
from morefromless.options import Sharing
from morefromless.specs import build, members


class Expander(nn.Sequential):
    """The head before the objective ("projector" elsewhere): Linear-BN-ReLU twice, then Linear.

    (B, inputs) -> (B, width). The paper says "three dense layers with ReLU activations and output
    size 8192" (2.2); its code, like VICReg's, has BatchNorm after the first two and neither
    BatchNorm nor ReLU after the last, which is what stands here.
    """

    def __init__(self, inputs: int, width: int = 8192) -> None:
        super().__init__(
            nn.Linear(inputs, width),
            nn.BatchNorm1d(width),
            nn.ReLU(inplace=True),
            nn.Linear(width, width),
            nn.BatchNorm1d(width),
            nn.ReLU(inplace=True),
            nn.Linear(width, width),
        )


class Branch(nn.Module):
    """One encoder with its expander."""

    def __init__(self, encoder: Encoder, expander: Expander) -> None:
        super().__init__()
        self.encoder = encoder
        self.expander = expander

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, S, S) -> representation (B, encoder.width), embedding (B, expander width)."""
        representation = self.encoder(images)
        return representation, self.expander(representation)


class Branches(nn.Module):
    """Named branches that are trained together; `shared` means one branch under every name.

    Which weights a name uses is in the parameter names: `shared.encoder...` or
    `primary.encoder...`. With shared weights each name still makes a pass of its own, so that
    BatchNorm normalises each modality by itself, as in the published implementations.

    `channels` says how many each name's encoder sees, 3 where it is silent; `lent` maps a name
    without weights of its own to the one whose it uses, also where the others are independent.
    Raises `ConfigError` where shared weights would see different numbers of channels.
    """

    def __init__(
        self,
        names: tuple[str, ...],
        sharing: Sharing,
        encoder: str,
        width: int,
        channels: Mapping[str, int] | None = None,
        lent: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        seen = {name: (channels or {}).get(name, 3) for name in names}
        if sharing == "shared" and len(set(seen.values())) > 1:
            raise ConfigError(
                f"Branches of {' and '.join(f'{n} channels' for n in seen.values())} cannot share "
                "weights; choose --sharing independent, or another palette than one-hot."
            )
        if len(set(names)) != len(names) or len(names) < 2:
            raise ConfigError(f"Branches need two or more different names, not {names}.")
        self.names = names
        self.sharing = sharing
        self.key = {
            name: "shared" if sharing == "shared" else (lent or {}).get(name, name)
            for name in names
        }
        self.own = nn.ModuleDict()
        for key in dict.fromkeys(self.key.values()):
            made = build_encoder(encoder, seen.get(key, seen[names[0]]))
            self.own[key] = Branch(made, Expander(made.width, width))

    def __getitem__(self, name: str) -> Branch:
        branch = self.own[self.key[name]]
        assert isinstance(branch, Branch)
        return branch

    def forward(self, images: Mapping[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
        """What each name's branch makes of its images: (representation, embedding) by name."""
        return {name: self[name](images[name]) for name in self.names}


def build_encoder(spec: str, channels: int = 3) -> Encoder:
    """The encoder that `spec` names: a member of the open set, or a timm name by itself."""
    name = spec.partition(":")[0]
    if channels != 3:
        colons = 2 if "." in name and ":" in spec else 1  # package.module:Class:... or name:...
        spec += f"{',' if spec.count(':') == colons else ':'}channels={channels}"
    if name in members(encoders, Encoder) or ("." in name and ":" in spec):
        return build(spec, encoders, Encoder)
    _, _, options = spec.partition(":")
    return build(f"timm:{name}" + (f",{options}" if options else ""), encoders, Encoder)


def check_encoder(spec: str, size: int, channels: int = 3) -> int:
    """Build and try an encoder on two blank images of side `size`; its width.

    Finds before anything is trained what would otherwise end a run at its first step.
    """
    encoder = build_encoder(spec, channels).eval()
    try:
        with torch.no_grad():
            made = encoder(torch.zeros(2, channels, size, size))
    except (RuntimeError, AssertionError, ValueError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ConfigError(
            f"Encoder '{spec}' does not take images of {size} x {size} px ({reason}); "
            "choose another --size or another encoder."
        ) from error
    if made.shape != (2, encoder.width):
        raise ConfigError(
            f"Encoder '{spec}' yields {tuple(made.shape[1:])} per image, not one vector of "
            f"{encoder.width}; choose an encoder with pooled features."
        )
    return encoder.width


def is_timm_name(name: str) -> bool:
    """Whether timm knows a model of this name."""
    return bool(timm.is_model(name))
