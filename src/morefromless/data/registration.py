"""Registration of paired images: estimate the shift between them in pixels."""

import numpy as np
import numpy.typing as npt
from scipy import fft

MAX_SHIFT = 0.25
"""Maximum shift that is searched, as a share of the side."""
SMOOTHING = 0.15
"""Standard deviation, in cycles per pixel, of the Gaussian that damps high frequencies, in which
two stains of the same tissue differ."""
MIN_PEAK = 7.0
"""Minimum height of the peak above the mean of the correlation, in standard deviations."""


def estimate_shifts(
    images: npt.NDArray[np.generic], shifted: npt.NDArray[np.generic]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Estimate the shift in px of each of `shifted` against its image: (N, 2), x to the right and y
    down; and whether the estimate is reliable, (N,) bool.

    Both are (N, H, W, C), with any channels and contrast. The phase correlation (Kuglin and Hines
    1975) uses gradient magnitudes, so dark nuclei may be bright in the other image. Without a clear
    peak, as in glass, the shift is unknown.

    >>> image = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), np.uint8)
    >>> estimate_shifts(image, np.roll(255 - image, (3, -2), axis=(1, 2)))
    (array([[-2,  3]]), array([ True]))
    """
    height, width = images.shape[1:3]
    spectrum = _spectrum(shifted) * _spectrum(images).conj()
    spectrum /= np.abs(spectrum) + 1e-12
    frequency = fft.fftfreq(height)[:, None] ** 2 + fft.rfftfreq(width) ** 2
    spectrum *= np.exp(-frequency / (2 * SMOOTHING**2)).astype(np.float32)
    correlation = fft.fftshift(fft.irfft2(spectrum, (height, width)), axes=(1, 2))
    rows, columns = int(height * MAX_SHIFT), int(width * MAX_SHIFT)
    centre = correlation[
        :,
        height // 2 - rows : height // 2 + rows + 1,
        width // 2 - columns : width // 2 + columns + 1,
    ]
    flat = centre.reshape(len(centre), -1)
    peak_index = flat.argmax(1)
    y, x = np.divmod(peak_index, centre.shape[2])
    peak = flat[np.arange(len(flat)), peak_index]
    reliable: npt.NDArray[np.bool_] = peak > flat.mean(1) + MIN_PEAK * flat.std(1)
    return np.stack([x - columns, y - rows], 1).astype(np.int64), reliable


def _spectrum(images: npt.NDArray[np.generic]) -> npt.NDArray[np.complex64]:
    grey = images.mean(3, dtype=np.float32)
    down, right = np.gradient(grey, axis=(1, 2))
    edges = np.hypot(down, right)
    edges -= edges.mean((1, 2), keepdims=True)
    window = np.outer(np.hanning(edges.shape[1]), np.hanning(edges.shape[2]))
    return np.asarray(fft.rfft2(edges * window.astype(np.float32)), np.complex64)
