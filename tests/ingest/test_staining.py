"""Stains by patient: one patch is its own estimate, two laboratories become alike, pairs differ."""

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
    """Drawn patches of two patients, the second of which are stained half as strongly."""

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


def test_a_patch_alone_is_normalised_as_the_modality_does() -> None:
    source = Laboratories(2)
    alone = StainNormalised(source)
    for item in alone.items():
        image = torch.from_numpy(source.read(item)["he"])[None]
        expected = (Macenko().render(image, 64)[0].permute(1, 2, 0) * 255).round()
        # One pixel of glass is added to the group's.
        difference = np.abs(alone.read(item)["he"].astype(int) - expected.numpy())
        assert difference.max() <= 1
        assert not np.array_equal(alone.read(item)["he"], source.read(item)["he"])


def test_laboratories_become_alike_and_patches_keep_their_differences() -> None:
    source = Laboratories(24)
    wrapped = StainNormalised(source)
    items = wrapped.items()
    before, after = (np.stack([s.read(i)["he"] for i in items]) for s in (source, wrapped))

    def apart(images: npt.NDArray[np.uint8]) -> float:
        return float(abs(images[::2].mean() - images[1::2].mean()))

    assert apart(after) < 0.1 * apart(before)
    strengths = estimate(torch.from_numpy(after)).strengths[::2]
    by_patch = Macenko().render(torch.from_numpy(before[::2]), 64).permute(0, 2, 3, 1) * 255
    assert strengths.std(0)[1] > 2 * estimate(by_patch).strengths.std(0)[1]
    assert wrapped.remarks() == ["Stains are normalised for each of 2 patients or slides."]


def test_groups_must_be_known() -> None:
    with pytest.raises(DataError, match=r"that of .row 0. is not known; find it .*--group"):
        StainNormalised(Laboratories(2, group=False)).items()
