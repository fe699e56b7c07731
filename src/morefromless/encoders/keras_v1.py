"""The authors' encoder: ResNet-50 as Keras Applications builds it."""

from collections import OrderedDict
from pathlib import Path

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from morefromless.encoders import Encoder
from morefromless.encoders._weights import load_weights, read_weights

STAGES = ((3, 64), (4, 128), (6, 256), (3, 512))
"""Blocks and channels of their 3 x 3 convolutions in conv2 to conv5 (He et al. 2016, Table 1)."""


class KerasV1(Encoder):
    """ResNet-50 v1 of Keras 2 (TensorFlow 2.9): 23,587,712 parameters, with moving statistics.

    The stride of a stage is in the first 1 x 1 convolution of its first block (in the 3 x 3
    convolution in timm's v1.5). Every convolution has a bias, and kernels are Glorot uniform.
    Images in [0, 1] are scaled to 0-255 without further normalisation, as the authors did. Keras'
    own ImageNet weights require other inputs (BGR minus its mean), so they are unsuitable.

    `keras-v1:weights=FILE` loads a run's weights.safetensors, or a .safetensors or PyTorch file, as
    for timm's encoders. The authors published no weights.
    Layers have Keras' names: `conv3.block1.1_conv` is Keras' conv3_block1_1_conv.

    Raises `ConfigError` if weights cannot be read or do not match.
    """

    width = 2048

    def __init__(self, channels: int = 3, weights: Path | None = None) -> None:
        super().__init__()
        self.network = _resnet50(channels)
        self.pretrained = weights is not None
        self.checkpointing = False
        if weights is not None:
            file = read_weights(weights, "keras-v1")
            load_weights(self.network, file, "keras-v1")
            self.input_size = file.size or self.input_size

    def forward(self, images: Tensor) -> Tensor:
        """(B, channels, S, S) in [0, 1] -> (B, 2048)."""
        features = images * 255
        for part in self.network:
            if self.checkpointing and isinstance(part, nn.Sequential):  # a stage
                features = checkpoint(part, features, use_reentrant=False)
            else:
                features = part(features)
        return features

    def checkpoint_gradients(self) -> None:
        self.checkpointing = True


def _resnet50(channels: int) -> nn.Sequential:
    inputs = 64
    parts: dict[str, nn.Module] = {
        "conv1_conv": nn.Conv2d(channels, inputs, 7, stride=2, padding=3),
        "conv1_bn": _batch_norm(inputs),
        "relu": nn.ReLU(inplace=True),
        # Keras pads with zeros and PyTorch with -inf; after the ReLU, the maximum is the same.
        "pool": nn.MaxPool2d(3, stride=2, padding=1),
    }
    for stage, (blocks, width) in enumerate(STAGES, start=2):
        first = _Block(inputs, width, stride=1 if stage == 2 else 2)
        chain = OrderedDict[str, nn.Module](block1=first)
        inputs = 4 * width
        for number in range(2, blocks + 1):
            chain[f"block{number}"] = _Block(inputs, width)
        parts[f"conv{stage}"] = nn.Sequential(chain)
    parts |= {"average": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten()}
    network = nn.Sequential(OrderedDict(parts))
    for part in network.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.xavier_uniform_(part.weight)
            assert part.bias is not None
            nn.init.zeros_(part.bias)
    return network


class _Block(nn.ModuleDict):
    """(B, inputs, H, W) -> (B, 4 width, H / stride, W / stride), with a residual connection.

    Convolutions have Keras' numbers: 1, 2 and 3 and, with a `stride`, 0 for the shortcut. The
    shortcut is defined last, so that a block's first convolution is its first layer.
    """

    def __init__(self, inputs: int, width: int, stride: int | None = None) -> None:
        super().__init__()
        self._add(1, nn.Conv2d(inputs, width, 1, stride=stride or 1))
        self._add(2, nn.Conv2d(width, width, 3, padding=1))
        self._add(3, nn.Conv2d(width, 4 * width, 1))
        if stride is not None:
            self._add(0, nn.Conv2d(inputs, 4 * width, 1, stride=stride))
        self["relu"] = nn.ReLU(inplace=True)

    def _add(self, number: int, convolution: nn.Conv2d) -> None:
        self[f"{number}_conv"] = convolution
        self[f"{number}_bn"] = _batch_norm(convolution.out_channels)

    def _normalised(self, number: int, x: Tensor) -> Tensor:
        normalised: Tensor = self[f"{number}_bn"](self[f"{number}_conv"](x))
        return normalised

    def forward(self, x: Tensor) -> Tensor:
        relu = self["relu"]
        shortcut = self._normalised(0, x) if "0_conv" in self else x
        hidden = relu(self._normalised(1, x))
        hidden = relu(self._normalised(2, hidden))
        output: Tensor = relu(self._normalised(3, hidden) + shortcut)
        return output


def _batch_norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1.001e-5, momentum=0.01)  # Keras' momentum is 0.99
