"""Stain normalisation by patient or slide, not by patch."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from morefromless.errors import ConfigError, DataError, UnreadablePatch
from morefromless.ingest.wrapping import Wrapper
from morefromless.modalities.macenko import reference_stains
from morefromless.sources import Datasheet, Item, Source
from morefromless.stain import Stains, estimate, normalise_stains, unchanged

MAX_SAMPLE = 64
"""Maximum number of patches from which the stains of a group are estimated."""


class StainNormalised(Wrapper):
    """A source whose H&E is normalised to the stains of the usual reference (Macenko et al. 2009).

    Hematoxylin and eosin are estimated once per group, from the pooled pixels of up to 64 of its
    patches, so differences between patches of a slide are kept. A group without two stains stays
    unchanged. `arrays` are the H&E arrays; stains are estimated from the first one. `items` raises
    `DataError` if the group of a patch is not known.
    """

    fork_safe = False  # threads of PyTorch are not fork-safe

    def __init__(self, inside: Source, arrays: Sequence[str] = ("he",)) -> None:
        super().__init__(inside)
        self.arrays = arrays
        self.reference = reference_stains("")
        self._stains_by_group: dict[str, Stains] = {}
        self._lock = Lock()

    def datasheet(self) -> Datasheet:
        sheet = self.inside.datasheet()
        return replace(sheet, title=f"{sheet.title}, stains normalised by group")

    def items(self) -> Sequence[Item]:
        items = self.inside.items()
        stray = next((item for item in items if item.group is None), None)
        if stray is not None:
            raise DataError(
                "--normalise-stain needs the patient or slide of every patch, and that of "
                f"'{stray.origin}' is not known; find it in the path with --group, or use the "
                "modality macenko."
            )
        return items

    def remarks(self) -> Sequence[str]:
        unchanged_groups = [
            group for group in self._groups if bool(unchanged(self._stains(group), self.reference))
        ]
        more = (
            f" Without two stains, and unchanged: {len(unchanged_groups)}."
            if unchanged_groups
            else ""
        )
        return [
            *self.inside.remarks(),
            f"Stains are normalised for each of {len(self._groups)} patients or slides.{more}",
        ]

    def read(self, item: Item) -> dict[str, npt.NDArray[Any]]:
        arrays = self.inside.read(item)
        stains = self._stains(str(item.group))
        for name in (name for name in self.arrays if name in arrays):
            _check(name, arrays[name])
            image = torch.from_numpy(np.array(arrays[name]))[None]
            changed = normalise_stains(image, stains, self.reference)[0]
            arrays[name] = changed.round().to(torch.uint8).numpy()
        return arrays

    @cached_property
    def _groups(self) -> dict[str, list[Item]]:
        groups: dict[str, list[Item]] = defaultdict(list)
        for item in self.items():
            groups[str(item.group)].append(item)
        return groups

    def _stains(self, group: str) -> Stains:
        with self._lock:
            if group not in self._stains_by_group:
                self._stains_by_group[group] = self._estimate_stains(self._groups[group])
            return self._stains_by_group[group]

    def _estimate_stains(self, items: Sequence[Item]) -> Stains:
        """Stains of the pooled pixels of a sample of the items. Unusable if none can be read."""
        pixels = [np.full((1, 3), 255, np.uint8)]  # one white pixel, in case nothing can be read
        for item in items[:: -(-len(items) // MAX_SAMPLE)]:
            try:
                arrays = self.inside.read(item)
            except UnreadablePatch:
                continue  # rejected later, when it is decoded
            if self.arrays[0] in arrays:
                _check(self.arrays[0], arrays[self.arrays[0]])
                pixels.append(arrays[self.arrays[0]].reshape(-1, 3))
        return estimate(torch.from_numpy(np.concatenate(pixels))[None, :, None])


def _check(name: str, array: npt.NDArray[Any]) -> None:
    if array.shape[2:] != (3,) or array.dtype != np.uint8:
        raise ConfigError(
            f"--normalise-stain needs 8-bit RGB, and {name} is not; convert it, or run without "
            "--normalise-stain."
        )
