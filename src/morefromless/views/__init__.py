"""Views: random augmentations of a modality. An open set.

Each member is a *preset* of augmentations. They are drawn independently for every patch and branch,
in batches on the training device. To add a preset, add a file with one public class deriving from
`Views`.
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
    """What to do if the preset does not support a modality."""

    @abstractmethod
    def augment(
        self, patches: Tensor, generator: torch.Generator, geometry: torch.Generator | None = None
    ) -> Tensor:
        """One view per patch: (B, C, S, S) float32 in [0, 1] -> the same shape and range.

        All random numbers come from `generator`, which is on the patches' device: the same
        generator state gives the same views. If `geometry` is given, flips, crops and rotations are
        drawn from it, so that views of two modalities can share them. The input is not changed.
        Raises `ConfigError` if the preset's colour changes do not support C channels.
        """

    def augment_mask(
        self,
        masks: Tensor,
        generator: torch.Generator,  # noqa: ARG002
        geometry: torch.Generator | None = None,  # noqa: ARG002
    ) -> Tensor:
        """One view per mask of a modality whose pixels are labels: (B, C, S, S), any C.

        Applies the preset's geometry by nearest neighbour and no colour changes, so every value of
        a view is a value of its mask. A preset without geometry leaves masks unchanged.
        """
        return masks.detach().clone()

    def augment_channels(
        self,
        images: Tensor,
        generator: torch.Generator,  # noqa: ARG002
        geometry: torch.Generator | None = None,  # noqa: ARG002
    ) -> Tensor:
        """One view per image with channels other than RGB, such as fluorescence: (B, C, S, S).

        All channels share the geometry; brightness and contrast are drawn per channel. A preset
        without either leaves images unchanged.
        """
        return images.detach().clone()

    def augment_vectors(self, vectors: Tensor, generator: torch.Generator) -> Tensor:  # noqa: ARG002
        """One view per vector, (B, length) float32 -> the same shape.

        A preset without augmentations for vectors leaves them unchanged.
        """
        return vectors.detach().clone()

    def channels(self, mask: bool = False) -> tuple[int, ...] | None:  # noqa: ARG002
        """Supported numbers of channels of images, or of masks; None means any number."""
        return None

    def check(self, channels: int, mask: bool = False) -> None:
        """Raise `ConfigError` if the preset does not support images, or masks, with `channels`.

        >>> from morefromless.views.table_s1 import TableS1
        >>> TableS1().check(channels=3)
        >>> TableS1(saturation=0, hue=0).check(channels=1)
        """
        allowed = self.channels(mask)
        if allowed is not None and channels not in allowed:
            raise ConfigError(
                f"--views {self.spec} changes colours of {' or '.join(map(str, allowed))} channels,"
                f" but this {'mask' if mask else 'modality'} has {channels} channels; {self.remedy}"
            )


_recorded: ContextVar[list[list[str]] | None] = ContextVar("recorded", default=None)


@contextmanager
def recording(count: int) -> Iterator[list[list[str]]]:
    """Record in words, per patch, what presets draw for a batch of `count` patches in the block."""
    words: list[list[str]] = [[] for _ in range(count)]
    token = _recorded.set(words)
    try:
        yield words
    finally:
        _recorded.reset(token)


def record(values: Tensor, word: str | Callable[[Tensor], str], unless: float = 0) -> None:
    """Record an augmentation for each patch whose draw (B, ...) is not `unless`.

    `word` is the text, or a function of the patch's draw. Does nothing outside `recording`, as in
    training.
    """
    words = _recorded.get()
    if words is None:
        return
    for patch, value in zip(words, values.cpu(), strict=True):
        if (value != unless).any():
            text = word if isinstance(word, str) else word(value)
            patch.extend([text] if text not in patch else [])
