"""Copy the pictures of docs/gallery.md. That page has the commands that make them.

python docs/gallery.py runs path/to/the/tutorial
"""

import shutil
import sys
from pathlib import Path

TARGET = Path(__file__).parent / "gallery"
RUN_PICTURES = {
    "demo/positive/views.png": "views.png",
    "demo/positive/panels.png": "panels.png",
    "compared.png": "compared.png",
    "explained.png": "explained.png",
    "represented/cka.png": "cka.png",
    "represented/confusion.png": "confusion.png",
    "represented/gradcam-stages.png": "gradcam-stages.png",
}
TUTORIAL_PICTURES = {"maps/slide.tif.png": "map.png"}


def main(runs: Path, tutorial: Path) -> None:
    """Copy the pictures. Raises `FileNotFoundError` if a command was not run."""
    TARGET.mkdir(exist_ok=True)
    for folder, names in ((runs, RUN_PICTURES), (tutorial, TUTORIAL_PICTURES)):
        for path, name in names.items():
            shutil.copyfile(folder / path, TARGET / name)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
