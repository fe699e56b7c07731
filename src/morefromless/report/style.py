"""What figures have in common: the look of each way of training, and how they are saved."""

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from morefromless.data import atomic

# Okabe and Ito's colours, which colour-blind readers can tell apart; line style says the sharing.
COLOURS = {"asymmetric": "#D55E00", "symmetric": "#0072B2", "supervised": "#009E73",
           "trident": "#CC79A7"}  # fmt: skip
STYLES = {"shared": "--", "independent": "-", None: "-"}
MARKERS = {"shared": "s", "independent": "o", None: "D"}


def save(figure: Figure, stem: Path) -> list[Path]:
    """The figure as `stem.svg` and `stem.png`, each written whole or not at all."""
    FigureCanvasAgg(figure)
    paths = []
    for suffix, options in ((".svg", {"metadata": {"Date": None}}), (".png", {"dpi": 160})):
        path = stem.with_suffix(suffix)
        with atomic.replacing(path) as temporary:
            figure.savefig(temporary, format=suffix[1:], **options)
        paths.append(path)
    return paths
