"""Base class of sources that consist of image files."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from morefromless.data.images import image_shape, read_pages
from morefromless.data.trees import Tree, open_tree
from morefromless.errors import DataError
from morefromless.sources import Item, Source


class ImageFiles(Source):
    """A source with one image file per patch, below a folder or in an archive."""

    def __init__(self, path: str) -> None:
        self.path = Path(path).expanduser()
        self._skipped_pages: dict[str, Mapping[str, int]] = {}

    @cached_property
    def tree(self) -> Tree:
        """The image files. Raises `DataError` if there are none."""
        tree = open_tree(self.path)
        if not tree.names:
            raise DataError(f"{self.path} holds no png, jpg or tif files; check the path.")
        return tree

    @property
    def fork_safe(self) -> bool:
        return self.tree.fork_safe

    def files(self) -> Sequence[Path]:
        """The images only: users may write logs and derived files into the same folders."""
        return self.tree.files()

    def skipped_files(self) -> Mapping[str, int]:
        return self.tree.skipped_files

    def skipped_parts(self, item: Item) -> Mapping[str, int]:
        return self._skipped_pages.get(item.id, {})

    def read(self, item: Item) -> dict[str, npt.NDArray[np.uint8]]:
        pixels, further = read_pages(self.tree.image(item.id))
        if further:
            self._skipped_pages[item.id] = further
        return {"he": pixels}

    def shape(self, item: Item) -> tuple[int, int]:
        return image_shape(self.tree.image(item.id))
