"""Split patches into windows of the network's input size, and stitch the output maps.

A network without padding has a smaller output than input: HoVer-Net takes `WINDOW` px and returns
the central `OUTPUT` px. Patches are padded by reflection, so that each pixel is in the output of
one window.
"""

import numpy as np
import numpy.typing as npt
from PIL import Image

from morefromless.data.areas import nearest_pixels

WINDOW, OUTPUT = 256, 164
MARGIN = (WINDOW - OUTPUT) // 2

Maps = tuple[npt.NDArray[np.float32], ...]
"""The network's maps, each (..., height, width, channels)."""


def split(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """(H, W, 3) -> (n, WINDOW, WINDOW, 3), row by row; the window centres cover the image."""
    height, width, _ = image.shape
    rows, columns = (-(-extent // OUTPUT) for extent in (height, width))
    padded = np.pad(
        image,
        (
            (MARGIN, rows * OUTPUT - height + MARGIN),
            (MARGIN, columns * OUTPUT - width + MARGIN),
            (0, 0),
        ),
        mode="symmetric",
    )
    windows = np.lib.stride_tricks.sliding_window_view(padded, (WINDOW, WINDOW), axis=(0, 1))
    selected = windows[::OUTPUT, ::OUTPUT].transpose(0, 1, 3, 4, 2)
    return np.ascontiguousarray(selected.reshape(-1, WINDOW, WINDOW, 3))


def stitch(maps: npt.NDArray[np.float32], shape: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Outputs (n, OUTPUT, OUTPUT, c) of an image's windows -> (H, W, c)."""
    height, width = shape
    rows, columns = (-(-extent // OUTPUT) for extent in shape)
    tiled = maps.reshape(rows, columns, OUTPUT, OUTPUT, -1).transpose(0, 2, 1, 3, 4)
    image = tiled.reshape(rows * OUTPUT, columns * OUTPUT, -1)
    return np.ascontiguousarray(image[:height, :width])


def rescale(image: npt.NDArray[np.uint8], factor: float) -> npt.NDArray[np.uint8]:
    """Enlarge (bicubic) or shrink (antialiased) an image (H, W, 3) by a factor."""
    height, width = (max(1, round(extent * factor)) for extent in image.shape[:2])
    if (height, width) == image.shape[:2]:
        return image
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))


def to_grid(
    instances: npt.NDArray[np.int32], shape: tuple[int, int]
) -> tuple[npt.NDArray[np.int32], int]:
    """Resample an instance map to `shape` by nearest pixel; also return the number of lost nuclei.

    A nucleus that covers no pixel centre gets the pixel that contains its centroid, unless another
    nucleus has this pixel.
    """
    if instances.shape == shape:
        return instances, 0
    rows, columns = map(nearest_pixels, instances.shape, shape)
    resampled = instances[rows[:, None], columns]
    dropped = 0
    for number in np.setdiff1d(instances, resampled):
        if number == 0:
            continue
        middle = np.argwhere(instances == number).mean(0) + 0.5
        y, x = (middle * np.asarray(shape) / instances.shape).astype(np.intp)
        if resampled[y, x]:
            dropped += 1
        else:
            resampled[y, x] = number
    return resampled, dropped
