"""An encoder of vectors."""

from torch import Tensor, nn

from morefromless.encoders import Encoder
from morefromless.errors import ConfigError


class Mlp(Encoder):
    """BatchNorm of the values, then `layers` times Linear-BN-ReLU of width `hidden`.

    For vectors such as gene expression: `mlp`, or `mlp:hidden=512,layers=3`. The input BatchNorm
    has no learned parameters; it scales genes of any abundance equally. The number of values
    (`channels`) comes from the modality.

    >>> import torch
    >>> Mlp(hidden=8, channels=5)(torch.rand(4, 5)).shape
    torch.Size([4, 8])
    """

    def __init__(self, hidden: int = 256, layers: int = 2, channels: int = 3) -> None:
        super().__init__()
        if not (1 <= hidden <= 2**16 and 1 <= layers <= 100):
            raise ConfigError(
                f"mlp:hidden={hidden},layers={layers} is not a network; hidden must be from 1 to "
                f"{2**16:,}, and layers from 1 to 100."
            )
        inputs = [channels, *[hidden] * (layers - 1)]
        parts: list[nn.Module] = [nn.BatchNorm1d(channels, affine=False)]
        for size in inputs:
            parts += [nn.Linear(size, hidden), nn.BatchNorm1d(hidden), nn.ReLU(inplace=True)]
        self.network = nn.Sequential(*parts)
        self.width = hidden

    def forward(self, images: Tensor) -> Tensor:
        """(B, channels) -> (B, hidden)."""
        if images.ndim != 2:
            raise ValueError("mlp takes vectors, not images")
        features: Tensor = self.network(images)
        return features
