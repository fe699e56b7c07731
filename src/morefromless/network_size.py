"""Size of a run's network, measured without its weights before anything is trained."""

from dataclasses import replace
from functools import cache

import torch
from torch import nn

from morefromless.branch_plans import plan_branches
from morefromless.branches import Branches
from morefromless.config import RunConfig
from morefromless.encoders import build_encoder, without_weights
from morefromless.errors import ConfigError
from morefromless.pairs import build_modality


@cache
def network_bytes(config: RunConfig) -> int:
    """Return the bytes of the weights and buffers that a run saves."""
    tensors = untrained_network(config).state_dict().values()
    return sum(int(tensor.nbytes) for tensor in tensors)


def untrained_network(config: RunConfig) -> nn.Module:
    """Build a run's network without pretrained weights, on the meta device if possible, where
    tensors use no memory."""

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
    except (RuntimeError, ConfigError):  # an encoder that cannot be built there
        return build()
