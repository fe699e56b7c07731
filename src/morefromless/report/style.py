"""What figures have in common: the look of each way of training, and how they are saved."""

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from morefromless import files

# Okabe and Ito's colours, which colour-blind readers can tell apart; line style says the sharing.
COLOURS = {
    "asymmetric": "#D55E00",
    "symmetric": "#0072B2",
    "supervised": "#009E73",
    "trident": "#CC79A7",
}
STYLES = {"shared": "--", "independent": "-", "": "-"}
MARKERS = {"shared": "s", "independent": "o", "": "D"}
FLOOR_STYLES = {
    "majority": ":",
    "mean-rgb": "--",
    "colour-histogram": "-",
    "random encoder": "-.",
}
# Even in lightness, so that they print in grey and all can read them: amounts, and differences.
AMOUNTS, DIFFERENCES = "cividis", "PuOr"

FORMATS: dict[str, dict[str, Any]] = {
    ".svg": {"metadata": {"Date": None}},
    ".pdf": {"metadata": {"CreationDate": None}},
    ".png": {"dpi": 160},
}


def save(figure: Figure, stem: Path, numbers: pd.DataFrame | None = None) -> list[Path]:
    """The figure as `stem.svg`, `.pdf` and `.png`, and the numbers that it draws as `stem.csv`.

    Each is written whole or not at all.
    """
    FigureCanvasAgg(figure)
    for text in figure.findobj(Text):
        text.set_parse_math(False)  # names come from other people: a `$` is a `$`
    paths = []
    if numbers is not None:
        paths.append(stem.with_suffix(".csv"))
        files.write_csv(paths[0], numbers)
    for suffix, options in FORMATS.items():
        path = stem.with_suffix(suffix)
        # The same figure has the same bytes each time.
        with rc_context({"svg.hashsalt": stem.name}), files.replacing(path) as temporary:
            figure.savefig(temporary, format=suffix[1:], **options)
        paths.append(path)
    return paths
