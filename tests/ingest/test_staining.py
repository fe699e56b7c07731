"""Stain normalisation by patient: a single patch, and patches of two laboratories."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
import torch

from morefromless.errors import DataError
from morefromless.ingest.staining import StainNormalised
from morefromless.modalities.macenko import Macenko
from morefromless.sources import Datasheet, Item, Source
from morefromless.stain import estimate
from morefromless.synthesis import Patient, Rng, draw


class Laboratories(Source):
    """Synthetic patches of two patients; those of the second are stained half as strongly."""

    def __init__(self, count: int, group: bool = True) -> None:
        self.count, self.group = count, group

    def datasheet(self) -> Datasheet:
        return Datasheet(title="laboratories")

    def items(self) -> Sequence[Item]:
        groups = [f"P{k % 2}" if self.group else None for k in range(self.count)]
        return [Item(str(k), "A", f"row {k}", None, groups[k]) for k in range(self.count)]

    def read(self, item: Item) -> dict[str, npt.NDArray[np.uint8]]:
        number = int(item.id)
        patient = Patient.sample(Rng(0, 0, 0))
        image = draw("TUM", patient, Rng(0, 1, number // 2), 64).image
        if number % 2:
            image = np.rint(255 * (image / 255) ** 0.5).astype(np.uint8)
        return {"he": image}


def test_single_patch_is_normalised_like_the_modality() -> None:
    source = Laboratories(2)
    normalised = StainNormalised(source)
    for item in normalised.items():
        image = torch.from_numpy(source.read(item)["he"])[None]
        expected = (Macenko().render(image, 64)[0].permute(1, 2, 0) * 255).round()
        # One pixel of glass is added to the group's.
        difference = np.abs(normalised.read(item)["he"].astype(int) - expected.numpy())
        assert difference.max() <= 1
        assert not np.array_equal(normalised.read(item)["he"], source.read(item)["he"])


def test_normalisation_aligns_laboratories_and_keeps_variation() -> None:
    source = Laboratories(24)
    normalised = StainNormalised(source)
    items = normalised.items()
    before, after = (np.stack([s.read(i)["he"] for i in items]) for s in (source, normalised))

    def brightness_gap(images: npt.NDArray[np.uint8]) -> float:
        return float(abs(images[::2].mean() - images[1::2].mean()))

    assert brightness_gap(after) < 0.1 * brightness_gap(before)
    strengths = estimate(torch.from_numpy(after)).strengths[::2]
    by_patch = Macenko().render(torch.from_numpy(before[::2]), 64).permute(0, 2, 3, 1) * 255
    assert strengths.std(0)[1] > 2 * estimate(by_patch).strengths.std(0)[1]
    assert normalised.remarks() == ["Stains are normalised for each of 2 patients or slides."]


def test_unknown_groups_are_refused() -> None:
    with pytest.raises(DataError, match=r"that of .row 0. is not known; find it .*--group"):
        StainNormalised(Laboratories(2, group=False)).items()
