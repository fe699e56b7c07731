"""A picture of a slide with its tissue and tiles, for inspection before training."""

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from morefromless import files
from morefromless.config import TileConfig
from morefromless.data.colours import class_colours
from morefromless.data.slides import Slide
from morefromless.data.tissue import OVERVIEW_UM_PER_PX, Tissue
from morefromless.errors import UnreadablePatch

MAX_SIDE = 1400
"""Maximum side of the picture in px."""
FONT = Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"
LINE_HEIGHT = 22
"""Height of a line of text in px."""


def write_preview(
    path: Path,
    name: str,
    slide: Slide,
    tissue: Tissue,
    tiles: Sequence[tuple[int, int, str | None]],
    config: TileConfig,
) -> None:
    """Write a PNG of the slide: tissue outlined in black, tiles in the colours of their labels.

    Areas outside the tissue are paler than in the slide. Captions explain numbers and colours.
    """
    scale = max(
        slide.um_per_px or OVERVIEW_UM_PER_PX,
        max(tissue.mask.shape) * OVERVIEW_UM_PER_PX / MAX_SIDE,
    )
    width, height = (max(1, int(side / slide.scale(scale))) for side in slide.size)
    overview = tissue.overview
    if scale < OVERVIEW_UM_PER_PX:
        with suppress(UnreadablePatch):  # else show the coarse overview used for tissue detection
            overview = slide.read(0, 0, width, height, scale)
    picture = Image.fromarray(overview).resize((width, height), Image.Resampling.BICUBIC)
    outlined = Image.fromarray(tissue.mask).resize((width, height), Image.Resampling.NEAREST)
    mask = np.asarray(outlined)
    pixels = np.array(picture)
    pixels[~mask] = 160 + pixels[~mask] * 0.37
    pixels[mask & ~ndimage.binary_erosion(mask, border_value=1)] = 0
    picture = Image.fromarray(pixels)
    draw = ImageDraw.Draw(picture)
    counts = Counter(label for *_, label in tiles)
    names = sorted(counts, key=str)
    colours = class_colours(names)
    factor = 1 / slide.scale(scale)
    side = config.size * slide.scale(config.mpp) * factor
    for x, y, label in tiles:
        corner = x * factor, y * factor
        draw.rectangle(
            (*corner, corner[0] + side - 1, corner[1] + side - 1), outline=colours[label], width=2
        )
    lines = [
        (f"{name}: {len(tiles):,} tiles of {config.size} px at {config.mpp:g} µm/px", (0, 0, 0)),
        (f"tissue on {tissue.share:.1%} of the slide (outlined)", (0, 0, 0)),
        *(
            (f"{label or 'no annotation'}: {counts[label]:,}", colours[label])
            for label in names
            if label or len(names) > 1
        ),
    ]
    sheet = Image.new(
        "RGB", (max(width, 560), height + LINE_HEIGHT * len(lines) + 8), (255, 255, 255)
    )
    text, font = ImageDraw.Draw(sheet), ImageFont.truetype(FONT, 15)
    for number, (line, colour) in enumerate(lines):
        text.text((6, 4 + LINE_HEIGHT * number), line, fill=colour, font=font)
    sheet.paste(picture, (0, LINE_HEIGHT * len(lines) + 8))
    with files.replacing(path) as temporary:
        sheet.save(temporary, format="PNG")
