"""The paper's augmentations in units of [0, 1]: the default."""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from morefromless.views import Views, _geometry, record
from morefromless.views import _photometry as photometry
from morefromless.views._draws import apply_where, bernoulli, blocks, check_range, uniform


@dataclass(frozen=True)
class TableS1(Views):
    """Table S1: flip, crop, background noise, rotation, solarise and colour jitter.

    Table S1 gives names, probabilities and the crop's 75 % to 100 %. The strengths are our choice,
    in units of [0, 1]. They are close to those of the published code if its images were not 0-255
    (`authors` implements the published code). Flip, crop and rotation are one bilinear
    interpolation. Noise, solarise, jitter and one clip follow.

    >>> import torch
    >>> TableS1().augment(torch.rand(2, 3, 8, 8), torch.Generator().manual_seed(0)).shape
    torch.Size([2, 3, 8, 8])
    """

    remedy = "choose table-s1:saturation=0,hue=0 or plain."

    flip: float = 0.5
    """Probability of a flip, for each axis; Table S1's 1.0 means that each patch gets a draw."""
    crop: float = 0.75
    """Minimum crop side as a share of the patch's *side*; drawn uniformly up to 1, aspect kept."""
    noise: float = 0.3
    """Probability of Gaussian noise on the background."""
    rotation: float = 0.4
    """Probability of a rotation, by any angle, with reflected borders."""
    solarize: float = 0.3
    """Probability of inverting the values above a threshold."""
    jitter: float = 1.0
    """Probability of the colour jitter."""
    sigma: float = 0.1
    """Standard deviation of the noise."""
    background: float = 0.8
    """A pixel is background if every channel has at least this value."""
    threshold: float = 0.5
    """Solarise draws its threshold uniformly from this to 1; from 0, it would often invert all."""
    brightness: float = 0.4
    """Brightness is multiplied by 1 +- this."""
    contrast: float = 0.4
    """Contrast is multiplied by 1 +- this, about the patch's mean luma."""
    saturation: float = 0.4
    """Saturation is multiplied by 1 +- this, about each pixel's luma."""
    hue: float = 0.1
    """Hue is rotated by +- this share of a full turn, at constant luma."""
    drop: float = 0.2
    """For vectors, not in Table S1: probability that a value is set to 0, as if undetected."""
    spread: float = 0.1
    """For vectors, not in Table S1: standard deviation of the added noise, in their unit."""

    def __post_init__(self) -> None:
        check_range(self, "flip noise rotation solarize jitter", 0, 1)
        check_range(self, "background threshold sigma drop", 0, 1)
        check_range(self, "spread", 0, 10)
        check_range(self, "crop", 0.05, 1)
        check_range(self, "brightness contrast saturation", 0, 1)
        check_range(self, "hue", 0, 0.5)

    def channels(self, mask: bool = False) -> tuple[int, ...] | None:
        changes_hue = self.jitter > 0 and (self.saturation > 0 or self.hue > 0)
        return (3,) if changes_hue and not mask else None

    @torch.no_grad()
    def augment(
        self, patches: Tensor, generator: torch.Generator, geometry: torch.Generator | None = None
    ) -> Tensor:
        """One view per patch: (B, C, S, S) float32 in [0, 1] -> the same shape and range.

        C is 3 unless `saturation` and `hue`, or `jitter`, are 0.
        """
        self.check(patches.shape[1])
        count = len(patches)
        maps = self._maps(count, geometry or generator)
        noisy = bernoulli(count, self.noise, generator)
        solarized = bernoulli(count, self.solarize, generator)
        record(noisy, "noise")
        record(solarized, "solarise")
        thresholds = uniform(count, self.threshold, 1, generator)
        colours = self._colours(count, generator)
        noise = partial(
            photometry.noise_on_background,
            sigma=self.sigma,
            background=self.background,
            generator=generator,
        )

        views = torch.empty_like(patches, memory_format=torch.contiguous_format)
        with torch.autocast(patches.device.type, enabled=False):
            matrices, offset_factors = photometry.colour_maps(*colours)
            for block in blocks(patches):
                images = _geometry.warp(patches[block], maps[block])
                images = apply_where(noisy[block], images, noise)
                images = apply_where(
                    solarized[block], images, photometry.solarize, thresholds[block]
                )
                if images.shape[1] == 3:
                    photometry.map_colours(
                        images, matrices[block], offset_factors[block], views[block]
                    )
                    views[block].clamp_(0, 1)
                else:
                    images = photometry.brightness_and_contrast(images, *colours[:2, block])
                    torch.clamp(images, 0, 1, out=views[block])
        return views

    @torch.no_grad()
    def augment_mask(
        self, masks: Tensor, generator: torch.Generator, geometry: torch.Generator | None = None
    ) -> Tensor:
        """Flip, crop and rotate (B, C, S, S) in one nearest-neighbour interpolation."""
        maps = self._maps(len(masks), geometry or generator)
        views = torch.empty_like(masks, memory_format=torch.contiguous_format)
        with torch.autocast(masks.device.type, enabled=False):
            for block in blocks(masks):
                views[block] = _geometry.warp(masks[block], maps[block], "nearest")
        return views

    @torch.no_grad()
    def augment_channels(
        self, images: Tensor, generator: torch.Generator, geometry: torch.Generator | None = None
    ) -> Tensor:
        """Flip, crop and rotate (B, C, S, S), and draw brightness and contrast per channel.

        Noise, solarise, saturation and hue are skipped: they are for stained tissue on glass.
        """
        count, channels = images.shape[:2]
        maps = self._maps(count, geometry or generator)
        brightness, contrast = (
            1 + uniform(count * channels, -half_range, half_range, generator).view(count, channels)
            for half_range in (self.brightness, self.contrast)
        )
        drawn = bernoulli(count, self.jitter, generator)[:, None]
        record(drawn, "jitter")
        brightness, contrast = (torch.where(drawn, f, 1.0) for f in (brightness, contrast))
        with torch.autocast(images.device.type, enabled=False):
            views = _geometry.warp(images, maps)
            return photometry.channel_jitter(views, brightness, contrast).clamp_(0, 1)

    @torch.no_grad()
    def augment_vectors(self, vectors: Tensor, generator: torch.Generator) -> Tensor:
        """Add noise to every value of (B, length), then apply dropout without rescaling."""
        noise = torch.randn(vectors.shape, generator=generator, device=vectors.device)
        present = torch.rand(vectors.shape, generator=generator, device=vectors.device) >= self.drop
        if self.spread:
            record(noise, "noise")
        record(present, lambda row: f"drop {100 * (~row).float().mean():.0f} %", unless=1)
        return (vectors + self.spread * noise) * present

    def _maps(self, count: int, generator: torch.Generator) -> Tensor:
        return _geometry.draw_maps(count, self.flip, self.crop, self.rotation, generator)

    def _colours(self, count: int, generator: torch.Generator) -> Tensor:
        """(4, count): three factors around 1 and the hue around 0; exactly these without jitter."""
        ranges = (self.brightness, self.contrast, self.saturation, self.hue)
        drawn = torch.stack(
            [uniform(count, -half_range, half_range, generator) for half_range in ranges]
        )
        jittered = bernoulli(count, self.jitter, generator)
        record(jittered, "jitter")
        drawn *= jittered
        drawn[:3] += 1
        return drawn
