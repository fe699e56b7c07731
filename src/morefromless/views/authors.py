"""The augmentations of the published code."""

from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from morefromless.views import Views, _geometry, record
from morefromless.views import _photometry as photometry
from morefromless.views._draws import (
    apply_where,
    bernoulli,
    blocks,
    check_range,
    per_patch,
    uniform,
)


@dataclass(frozen=True)
class Authors(Views):
    """Table S1 as the authors' TensorFlow code computes it, on values of 0-255.

    In the order of that code:

    1. Flips.
    2. A crop whose height and width are drawn independently, resized bilinearly.
    3. Uniform noise in place of exact zeros, so most tissue gets no noise.
    4. Rotation by up to half a turn, nearest pixel, black corners.
    5. "Solarise" with a threshold of 0.01 to 0.6 on the 0-255 scale, so tissue is fully inverted.
    6. Brightness +- 0.4 grey levels, contrast about each channel's mean and saturation times 0.6 to
       1.4, hue +- 0.1 turns.
    7. One clip at the end.

    Two things that the code leaves to chance or to libraries are fixed here: crops have whole
    pixels and may have the largest offset, and the colour steps have the order above.
    """

    remedy = "choose authors:jitter=0 or other views or, for nuclei, nuclei:levels or nuclei:raw."

    flip: float = 0.5
    """Probability of a flip, for each axis."""
    crop: float = 0.75
    """Smallest height and width of the crop as a share of the side."""
    noise: float = 0.3
    """Probability of noise on zeros."""
    rotation: float = 0.4
    """Probability of a rotation."""
    solarize: float = 0.3
    """Probability of the inversion."""
    jitter: float = 1.0
    """Probability of the colour steps."""

    def __post_init__(self) -> None:
        check_range(self, "flip noise rotation solarize jitter", 0, 1)
        check_range(self, "crop", 0.05, 1)

    def channels(self, mask: bool = False) -> tuple[int, ...] | None:  # noqa: ARG002
        return (3,) if self.jitter > 0 else None

    @torch.no_grad()
    def augment(
        self, patches: Tensor, generator: torch.Generator, geometry: torch.Generator | None = None
    ) -> Tensor:
        """One view per patch: (B, C, S, S) float32 in [0, 1] -> the same shape and range.

        C is 3 unless `jitter` is 0.
        """
        self.check(patches.shape[1])
        count, side = len(patches), patches.shape[-1]
        geometry_generator = geometry or generator
        rows = self._positions(count, side, geometry_generator, "high")
        columns = self._positions(count, side, geometry_generator, "wide")
        noisy = bernoulli(count, self.noise, generator)
        rotated = bernoulli(count, self.rotation, geometry_generator)
        angles = uniform(count, 0, torch.pi, geometry_generator)
        solarized = bernoulli(count, self.solarize, generator)
        thresholds = uniform(count, 0.1, 6, generator) / 10
        jittered = bernoulli(count, self.jitter, generator)
        ranges = ((-0.4, 0.4), (0.6, 1.4), (0.6, 1.4), (-0.1, 0.1))
        colours = torch.stack([uniform(count, *limits, generator) for limits in ranges])
        for drawn, word in (
            (noisy, "noise on black"),
            (rotated, "rotate"),
            (solarized, "invert"),
            (jittered, "jitter"),
        ):
            record(drawn, word)

        noise = partial(photometry.noise_on_zeros, generator=generator)
        solarize = partial(photometry.solarize, white=255)
        views = torch.empty_like(patches, memory_format=torch.contiguous_format)
        with torch.autocast(patches.device.type, enabled=False):
            for block in blocks(patches):
                images = _geometry.crop_resize(patches[block] * 255, rows[block], columns[block])
                images = apply_where(noisy[block], images, noise)
                images = apply_where(
                    rotated[block], images, _geometry.rotate_nearest, angles[block]
                )
                images = apply_where(solarized[block], images, solarize, thresholds[block])
                if self.jitter > 0:
                    images = apply_where(jittered[block], images, _jitter, *colours[:, block])
                torch.div(images.clamp_(0, 255), 255, out=views[block])
        return views

    @torch.no_grad()
    def augment_channels(
        self, images: Tensor, generator: torch.Generator, geometry: torch.Generator | None = None
    ) -> Tensor:
        """Flip, crop and rotate (B, C, S, S): the published code has no such channels."""
        plain = replace(self, noise=0, solarize=0, jitter=0)
        return plain.augment(images, generator, geometry)

    def augment_mask(
        self, masks: Tensor, generator: torch.Generator, geometry: torch.Generator | None = None
    ) -> Tensor:
        """All steps, including colours and bilinear crops, as the published code does."""
        self.check(masks.shape[1], mask=True)
        return self.augment(masks, generator, geometry)

    def _positions(self, count: int, side: int, generator: torch.Generator, axis: str) -> Tensor:
        """(count, side) source pixels along one axis, flipped and cropped."""
        flips = bernoulli(count, self.flip, generator)
        length = (uniform(count, self.crop, 1, generator) * side).floor().clamp_(min=1)
        record(flips, "flip")
        record(length, lambda px: f"crop {100 * px / side:.0f} % {axis}", unless=side)
        start = (uniform(count, 0, 1, generator) * (side - length + 1)).floor()
        return _geometry.crop_positions(start, length, flips, side)


def _jitter(
    images: Tensor, brightness: Tensor, contrast: Tensor, saturation: Tensor, hue: Tensor
) -> Tensor:
    images = photometry.contrast_by_channel(images + per_patch(brightness), contrast)
    return photometry.saturation_and_hue(images, saturation, hue)
