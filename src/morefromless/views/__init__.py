"""Views: random draws of a modality. An open set.

Each member is a *preset* of augmentations, drawn independently for every patch and branch, batched
on the device that trains. To add one, add a file with one public class deriving from `Views`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

from morefromless.errors import ConfigError
from morefromless.specs import Member


class Views(Member, ABC):
    """A preset of augmentations."""

    member_kind = "views preset"
    remedy = "choose other views, such as plain."
    """What to do where the preset does not hold for a modality."""

    @abstractmethod
    def augment(
        self, patches: Tensor, generator: torch.Generator, geometry: torch.Generator | None = None
    ) -> Tensor:
        """One view per patch: (B, C, S, S) float32 in [0, 1] -> the same shape and range.

        All randomness comes from `generator`, which lives on the patches' device: the same
        generator state gives the same views. Where `geometry` is given, flips, crops and rotations
        come from it, so that views of two modalities may have the same ones. The input is not
        changed. Raises `ConfigError` where the preset's colours do not hold for C channels.
        """

    def augment_mask(
        self,
        masks: Tensor,
        generator: torch.Generator,  # noqa: ARG002
        geometry: torch.Generator | None = None,  # noqa: ARG002
    ) -> Tensor:
        """One view per mask, of a modality whose pixels are labels: (B, C, S, S), any C.

        The preset's geometry by nearest neighbour and none of its colours, so that every value of
        a view is one of its mask's. A preset without geometry leaves masks as they are.
        """
        return masks.detach().clone()

    def augment_channels(
        self,
        images: Tensor,
        generator: torch.Generator,  # noqa: ARG002
        geometry: torch.Generator | None = None,  # noqa: ARG002
    ) -> Tensor:
        """One view per image of any channels that are no RGB, such as fluorescence: (B, C, S, S).

        Geometry is that of all channels; brightness and contrast are each channel's own. A preset
        without either leaves images as they are.
        """
        return images.detach().clone()

    def augment_vectors(self, vectors: Tensor, generator: torch.Generator) -> Tensor:  # noqa: ARG002
        """One view per vector, (B, length) float32 -> the same shape.

        A preset without augmentations for vectors leaves them as they are.
        """
        return vectors.detach().clone()

    def channels(self, mask: bool = False) -> tuple[int, ...] | None:  # noqa: ARG002
        """Numbers of channels of images, or of masks, that the preset holds for; None is any."""
        return None

    def check(self, channels: int, mask: bool = False) -> None:
        """Raise `ConfigError` where the preset does not hold for images, or masks, so made.

        >>> from morefromless.views.table_s1 import TableS1
        >>> TableS1().check(channels=3)
        >>> TableS1(saturation=0, hue=0).check(channels=1)
        """
        allowed = self.channels(mask)
        if allowed is not None and channels not in allowed:
            raise ConfigError(
                f"--views {self.spec} changes colours of {' or '.join(map(str, allowed))} channels,"
                f" and this {'mask' if mask else 'modality'} has {channels} channels; {self.remedy}"
            )


_recorded: ContextVar[list[list[str]] | None] = ContextVar("recorded", default=None)


@contextmanager
def recording(count: int) -> Iterator[list[list[str]]]:
    """Within the block, the words of what presets draw of a batch of `count` patches, by patch."""
    words: list[list[str]] = [[] for _ in range(count)]
    token = _recorded.set(words)
    try:
        yield words
    finally:
        _recorded.reset(token)


def record(values: Tensor, word: str | Callable[[Tensor], str], unless: float = 0) -> None:
    """Where it is asked for, the word of an augmentation for each patch whose draw (B, ...) is not
    `unless`, or what `word` makes of its draw; in training this does nothing."""
    words = _recorded.get()
    if words is None:
        return
    for patch, value in zip(words, values.cpu(), strict=True):
        if (value != unless).any():
            text = word if isinstance(word, str) else word(value)
            patch.extend([text] if text not in patch else [])
