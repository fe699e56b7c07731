"""The synthetic source: what it lists, what it reads, what it refuses."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from morefromless import sources
from morefromless.errors import ConfigError
from morefromless.sources import Source
from morefromless.sources.synthetic import Synthetic
from morefromless.specs import build


def test_patients_are_in_one_split_and_classes_in_both() -> None:
    items = Synthetic().items()
    assert len(items) == len({item.id for item in items}) == 900
    sides = {(item.group, item.split) for item in items}
    assert len(sides) == len({group for group, _ in sides}) == 30
    assert Counter(split for _, split in sides) == {"train": 22, "test": 8}
    assert all(98 <= count <= 102 for count in Counter(item.label for item in items).values())
    for split in ("train", "test"):
        assert len({item.label for item in items if item.split == split}) == 9


@pytest.mark.parametrize("patients", [2, 3, 5])
def test_few_patients_are_split_into_train_and_test(patients: int) -> None:
    items = Synthetic(patches=patients, patients=patients).items()
    assert [item.split for item in items] == ["train"] * (patients - 1) + ["test"]


def test_threads_read_the_same_as_sequential_calls() -> None:
    source = Synthetic(patches=24, patients=4, size=32, seed=3)
    items = source.items()
    sequential = [source.read(item)["he"] for item in items]
    with ThreadPoolExecutor(4) as threads:
        threaded = list(threads.map(lambda item: source.read(item)["he"], reversed(items)))
    for expected, actual in zip(sequential, reversed(threaded), strict=True):
        np.testing.assert_array_equal(expected, actual)


def test_patch_depends_on_the_seed_and_not_on_the_count() -> None:
    few, many = Synthetic(patches=12, patients=4), Synthetic(patches=40, patients=4)
    assert list(few.items()) == list(many.items())[:12]
    item = few.items()[7]
    np.testing.assert_array_equal(few.read(item)["he"], many.read(item)["he"])
    other_seed = Synthetic(patches=12, patients=4, seed=1)
    assert not np.array_equal(few.read(item)["he"], other_seed.read(other_seed.items()[7])["he"])


def test_tissue_of_an_item_is_its_image() -> None:
    source = Synthetic(patches=9, patients=3, size=48)
    for item in source.items():
        tissue = source.tissue(item)
        np.testing.assert_array_equal(tissue.image, source.read(item)["he"])
        assert tissue.instances.max() == len(tissue.types)


def test_control_option_gives_pairs_of_four_classes() -> None:
    source = build("synthetic:patches=16,patients=4,size=24,control=positive", sources, Source)  # type: ignore[type-abstract]
    items = source.items()
    assert Counter(item.label for item in items) == {"ADI": 4, "LYM": 4, "MUS": 4, "NORM": 4}
    arrays = source.read(items[0])
    assert sorted(arrays) == ["primary", "privileged"]
    assert all(array.shape == (24, 24, 3) for array in arrays.values())
    assert set(source.datasheet().classes) == {"ADI", "LYM", "MUS", "NORM"}


def test_control_both_has_the_images_of_each_control() -> None:
    both, positive, negative = (
        Synthetic(patches=16, patients=4, size=24, control=control)  # type: ignore[arg-type]
        for control in ("both", "positive", "negative")
    )
    for item in both.items():
        arrays, positive_arrays, negative_arrays = (
            both.read(item),
            positive.read(item),
            negative.read(item),
        )
        np.testing.assert_array_equal(arrays["primary"], positive_arrays["primary"])
        np.testing.assert_array_equal(arrays["primary"], negative_arrays["primary"])
        np.testing.assert_array_equal(arrays["signal"], positive_arrays["privileged"])
        np.testing.assert_array_equal(arrays["again"], negative_arrays["privileged"])


def test_strength_weakens_the_positive_control_to_the_negative() -> None:
    def privileged(control: str, strength: float) -> list[np.ndarray]:
        source = Synthetic(patches=4, patients=4, size=32, control=control, strength=strength)  # type: ignore[arg-type]
        return [source.read(item)["privileged"].astype(int) for item in source.items()]

    negative, weak, half, positive = (
        privileged(*arguments)
        for arguments in (("negative", 1), ("positive", 0), ("positive", 0.5), ("positive", 1))
    )
    np.testing.assert_array_equal(negative, weak)
    for without, partial, full in zip(negative, half, positive, strict=True):
        assert 0 < np.abs(partial - without).mean() < np.abs(full - without).mean()
        assert 0 < np.abs(partial - full).mean() < np.abs(full - without).mean()


def test_the_datasheet_states_the_magnification() -> None:
    assert Synthetic(size=224).datasheet().um_per_px == 0.5
    assert Synthetic(size=64).datasheet().um_per_px == 1.75
    assert len(Synthetic().datasheet().classes) == 9


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("synthetic:patches=1", "patches=2"),
        ("synthetic:patients=1", "patients=2"),
        ("synthetic:patches=10", "patients=10"),
        ("synthetic:size=8", "size=16"),
        ("synthetic:seed=-1", "seed=0"),
        ("synthetic:patches=2147483647", "at most 1,000,000"),
        ("synthetic:control=neither", "positive"),
        ("synthetic:control=positive,strength=2", "from 0 to 1"),
    ],
)
def test_invalid_parameters_are_refused(spec: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(spec, sources, Source)  # type: ignore[type-abstract]
