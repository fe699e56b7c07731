"""Changes of colour of a batch, each patch with values of its own.

Images are (B, C, S, S), RGB where hue or saturation change; values per patch are (B,).
"""

import torch
from torch import Tensor

from morefromless.views._draws import per_patch

# RGB to luma (Rec. 601) and the two chroma axes of NTSC. Grey has no chroma: rows 2 and 3 sum to 0.
_YIQ = torch.tensor(
    [[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]],
    dtype=torch.float64,
)
_RGB = torch.linalg.inv(_YIQ)


def jitter(
    images: Tensor, brightness: Tensor, contrast: Tensor, saturation: Tensor, hue: Tensor
) -> Tensor:
    """Brightness, contrast, saturation and hue in this order, as one 3 x 3 matrix per patch.

    Brightness multiplies; contrast scales about the patch's mean luma; saturation scales about
    each pixel's luma; hue turns the chroma by `hue` of a full turn. In YIQ all four are linear:
    luma is multiplied by `brightness contrast`, chroma by `brightness contrast saturation` and
    turned. Departures from torchvision's ColorJitter: hue turns in YIQ and not in HSV (luma is
    kept, and no sextants are computed), the order is fixed, and nothing is clipped in between.
    """
    matrices, lifts = colour_maps(brightness, contrast, saturation, hue)
    return map_colours(images, matrices, lifts, torch.empty_like(images))


def colour_maps(
    brightness: Tensor, contrast: Tensor, saturation: Tensor, hue: Tensor
) -> tuple[Tensor, Tensor]:
    """What `jitter` does to (B,) patches: a matrix (B, 3, 3) of colours, and (B,) how much of a
    patch's mean luma is added."""
    to_yiq, from_yiq = (matrix.to(hue, non_blocking=True) for matrix in (_YIQ, _RGB))
    luma = brightness * contrast
    cos = luma * saturation * (2 * torch.pi * hue).cos()
    sin = luma * saturation * (2 * torch.pi * hue).sin()
    zero = torch.zeros_like(luma)
    # NTSC's axes run so that a positive hue (towards yellow from red) turns from I to minus Q.
    change = torch.stack((luma, zero, zero, zero, cos, sin, zero, -sin, cos), -1)
    return from_yiq @ change.view(-1, 3, 3) @ to_yiq, (1 - contrast) * brightness


def map_colours(images: Tensor, matrices: Tensor, lifts: Tensor, out: Tensor) -> Tensor:
    """Write images as `colour_maps` says to `out`, which is contiguous, and return it."""
    offsets = lifts * (images.mean((2, 3)) @ _YIQ[0].to(images, non_blocking=True))
    flat = out.view(*out.shape[:2], -1)
    torch.baddbmm(offsets[:, None, None], matrices, images.flatten(2), out=flat)
    return out


def brightness_and_contrast(images: Tensor, brightness: Tensor, contrast: Tensor) -> Tensor:
    """Of any number of channels: as `jitter`, but about the mean of all channels together."""
    mean = images.mean((1, 2, 3))
    offset = (1 - contrast) * brightness * mean
    return images * per_patch(brightness * contrast) + per_patch(offset)


def channel_jitter(images: Tensor, brightness: Tensor, contrast: Tensor) -> Tensor:
    """Each channel times its brightness, and scaled by its contrast about its mean; (B, C) both."""
    offset = (1 - contrast) * brightness * images.mean((2, 3))
    return images * (brightness * contrast)[..., None, None] + offset[..., None, None]


def solarize(images: Tensor, thresholds: Tensor, white: float = 1.0) -> Tensor:
    """Values at or above the patch's threshold are inverted (x -> white - x), the rest stay."""
    inverted = white - images
    return torch.where(images < per_patch(thresholds), images, inverted, out=inverted)


def noise_on_background(
    images: Tensor, sigma: float, background: float, generator: torch.Generator
) -> Tensor:
    """Gaussian noise where there is no tissue, drawn per pixel and channel; clipped to [0, 1].

    A pixel is background where every channel is `background` or more: bright and hardly coloured.
    """
    noise = torch.empty_like(images).normal_(0.0, sigma, generator=generator)
    where = (images.amin(1, keepdim=True) >= background).to(noise.dtype)
    return torch.addcmul(images, noise, where, out=noise).clamp_(0, 1)


def noise_on_zeros(images: Tensor, generator: torch.Generator) -> Tensor:
    """Channel values of exactly 0 become uniform draws from [0, 256), each on its own."""
    noise = torch.empty_like(images).uniform_(0.0, 256.0, generator=generator)
    return torch.where(images == 0, noise, images)


def contrast_by_channel(images: Tensor, factors: Tensor) -> Tensor:
    """Every channel scaled about its own mean, as TensorFlow's `adjust_contrast` does."""
    return torch.lerp(images.mean((2, 3), keepdim=True), images, per_patch(factors))


def saturation_and_hue(images: Tensor, saturation: Tensor, hue: Tensor) -> Tensor:
    """HSV saturation times `saturation` (at most 1), then hue turned by `hue` of a full turn.

    HSV's value V and hue do not change with its saturation S, so both steps are one: with the
    chroma C = V S of the result and its hue H in sixths of a turn, channel n in (5, 3, 1) is
    V - C max(0, min(k, 4 - k, 1)), k = (n + H) mod 6. Values may lie outside the range, as the
    authors' do before their only clip; where V is not positive the saturation is 0.
    """
    red, green, blue = images.unbind(1)
    value, chroma = images.amax(1), images.amax(1) - images.amin(1)
    safe = chroma.clamp(min=torch.finfo(images.dtype).tiny)
    sixth = torch.where(
        red == value,
        (green - blue) / safe,
        torch.where(green == value, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    sixth += 6 * hue[:, None, None]
    chroma = torch.minimum(chroma * saturation[:, None, None], value.clamp(min=0))
    changed = torch.empty_like(images)
    for channel, n in enumerate((5, 3, 1)):
        k = torch.remainder(sixth + n, 6)
        share = torch.minimum(k, 4 - k).clamp_(0, 1)
        torch.addcmul(value, chroma, share, value=-1, out=changed[:, channel])
    return changed
