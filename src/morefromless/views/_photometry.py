"""Colour changes of a batch, with separate values for each patch.

Images are (B, C, S, S), and RGB if hue or saturation change; values per patch are (B,).
"""

import torch
from torch import Tensor

from morefromless.views._draws import per_patch

# RGB to luma (Rec. 601) and the two NTSC chroma axes. Grey has no chroma: rows 2 and 3 sum to 0.
_YIQ = torch.tensor(
    [[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]],
    dtype=torch.float64,
)
_RGB = torch.linalg.inv(_YIQ)


def colour_maps(
    brightness: Tensor, contrast: Tensor, saturation: Tensor, hue: Tensor
) -> tuple[Tensor, Tensor]:
    """Brightness, contrast, saturation and hue in this order, as one 3 x 3 matrix per patch.

    Returns colour matrices (B, 3, 3), and (B,) the factor of the patch's mean luma that is added.

    Brightness multiplies. Contrast scales about the patch's mean luma. Saturation scales about each
    pixel's luma. Hue rotates the chroma by `hue` of a full turn. In YIQ, all four are linear: luma
    is multiplied by `brightness contrast`, chroma is multiplied by `brightness contrast saturation`
    and rotated. Differences from torchvision's ColorJitter: hue is rotated in YIQ and not in HSV
    (luma is kept, no sextants are computed), the order is fixed, no step is clipped.
    """
    to_yiq, from_yiq = (matrix.to(hue, non_blocking=True) for matrix in (_YIQ, _RGB))
    luma = brightness * contrast
    cos = luma * saturation * (2 * torch.pi * hue).cos()
    sin = luma * saturation * (2 * torch.pi * hue).sin()
    zero = torch.zeros_like(luma)
    # On NTSC's axes, a positive hue (from red towards yellow) rotates from I to minus Q.
    change = torch.stack((luma, zero, zero, zero, cos, sin, zero, -sin, cos), -1)
    return from_yiq @ change.view(-1, 3, 3) @ to_yiq, (1 - contrast) * brightness


def map_colours(images: Tensor, matrices: Tensor, offset_factors: Tensor, out: Tensor) -> None:
    """Apply `colour_maps` to images, and write the result to the contiguous `out`."""
    offsets = offset_factors * (images.mean((2, 3)) @ _YIQ[0].to(images, non_blocking=True))
    flat = out.view(*out.shape[:2], -1)
    torch.baddbmm(offsets[:, None, None], matrices, images.flatten(2), out=flat)


def brightness_and_contrast(images: Tensor, brightness: Tensor, contrast: Tensor) -> Tensor:
    """As `colour_maps`, for any number of channels: contrast is about the mean of all channels."""
    mean = images.mean((1, 2, 3))
    offset = (1 - contrast) * brightness * mean
    return images * per_patch(brightness * contrast) + per_patch(offset)


def channel_jitter(images: Tensor, brightness: Tensor, contrast: Tensor) -> Tensor:
    """Scale each channel by its brightness, and by its contrast about its mean; both (B, C)."""
    offset = (1 - contrast) * brightness * images.mean((2, 3))
    return images * (brightness * contrast)[..., None, None] + offset[..., None, None]


def solarize(images: Tensor, thresholds: Tensor, white: float = 1.0) -> Tensor:
    """Invert values at or above the patch's threshold (x -> white - x)."""
    inverted = white - images
    return torch.where(images < per_patch(thresholds), images, inverted, out=inverted)


def noise_on_background(
    images: Tensor, sigma: float, background: float, generator: torch.Generator
) -> Tensor:
    """Add Gaussian noise to the background, drawn per pixel and channel; clip to [0, 1].

    A pixel is background if every channel is `background` or more: bright, with little colour.
    """
    noise = torch.empty_like(images).normal_(0.0, sigma, generator=generator)
    where = (images.amin(1, keepdim=True) >= background).to(noise.dtype)
    return torch.addcmul(images, noise, where, out=noise).clamp_(0, 1)


def noise_on_zeros(images: Tensor, generator: torch.Generator) -> Tensor:
    """Replace channel values of exactly 0 by separate uniform draws from [0, 256)."""
    noise = torch.empty_like(images).uniform_(0.0, 256.0, generator=generator)
    return torch.where(images == 0, noise, images)


def contrast_by_channel(images: Tensor, factors: Tensor) -> Tensor:
    """Scale every channel about its own mean, as TensorFlow's `adjust_contrast` does."""
    return torch.lerp(images.mean((2, 3), keepdim=True), images, per_patch(factors))


def saturation_and_hue(images: Tensor, saturation: Tensor, hue: Tensor) -> Tensor:
    """Multiply HSV saturation by `saturation` (at most 1), then rotate the hue by `hue` turns.

    In HSV, V and H do not depend on S, so both steps are combined. With the chroma C = V S of the
    result and its hue H in sixths of a turn, channel n in (5, 3, 1) is
    V - C max(0, min(k, 4 - k, 1)), k = (n + H) mod 6. Values may be outside the range, as the
    authors' values are before their only clip. If V is not positive, the saturation is 0.
    """
    red, green, blue = images.unbind(1)
    value, chroma = images.amax(1), images.amax(1) - images.amin(1)
    safe = chroma.clamp(min=torch.finfo(images.dtype).tiny)
    hue_sixths = torch.where(
        red == value,
        (green - blue) / safe,
        torch.where(green == value, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    hue_sixths += 6 * hue[:, None, None]
    chroma = torch.minimum(chroma * saturation[:, None, None], value.clamp(min=0))
    changed = torch.empty_like(images)
    for channel, n in enumerate((5, 3, 1)):
        k = torch.remainder(hue_sixths + n, 6)
        share = torch.minimum(k, 4 - k).clamp_(0, 1)
        torch.addcmul(value, chroma, share, value=-1, out=changed[:, channel])
    return changed
