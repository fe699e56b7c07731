"""Arrays of one image, in the layouts of CoNIC and PanNuke."""

from pathlib import Path

import numpy as np
import pytest

from morefromless.data.nuclei import Nuclei
from morefromless.data.schemes import CONIC, PANNUKE, Scheme
from morefromless.errors import UnreadablePatch
from morefromless.nuclei_formats import TypedInstances
from morefromless.nuclei_formats.npy import Npy

PAIRS = np.array([[[0, 0], [5, 6]], [[2, 1], [5, 6]]])


def read(tmp_path: Path, mask: np.ndarray, shape: tuple[int, int] = (2, 2)) -> TypedInstances:
    np.save(tmp_path / "a.npy", mask)
    return Npy().read(tmp_path / "a.npy", shape)


def typed_nuclei(result: TypedInstances, scheme: Scheme = CONIC) -> Nuclei:
    return Nuclei.typed(result.instances, result.types, scheme)


@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.float64])
def test_pairs_of_instances_and_types_are_read(tmp_path: Path, kind: type) -> None:
    result = read(tmp_path, PAIRS.astype(kind))
    np.testing.assert_array_equal(result.instances, PAIRS[..., 0])
    assert result.types == {2: 1, 5: 6}
    assert typed_nuclei(result).types.tolist() == [1, 6]


def test_channels_of_types_are_read(tmp_path: Path) -> None:
    mask = np.zeros((2, 2, 6))
    mask[0, 0, 3], mask[1, 1, 4] = 9, 9
    result = read(tmp_path, mask)
    assert result.instances.tolist() == [[1, 0], [0, 2]]
    assert result.types == {1: "Dead", 2: "Non-Neoplastic Epithelial"}
    assert typed_nuclei(result, PANNUKE).types.tolist() == [4, 5]
    mask[0, 0, 0] = 1
    with pytest.raises(UnreadablePatch, match="overlapping nuclei: id 9 of Dead keeps 0 of 1 px"):
        read(tmp_path, mask)


@pytest.mark.parametrize(
    ("mask", "reason"),
    [
        (PAIRS[..., 0], "not a mask: a.npy is 2 x 2; "),
        (np.zeros((2, 2, 3)), "not a mask: a.npy is 2 x 2 x 3; "),
        (np.zeros((1, 2, 2, 2)), "not a mask: a.npy is 1 x 2 x 2 x 2; "),
        (np.zeros((3, 2, 2)), "another size: mask 2 x 3, image 2 x 2; "),
        (PAIRS + 0.5, "float mask: a.npy holds fractions; "),
        (PAIRS > 0, "not a mask: a.npy holds bool; "),
        (np.array([[[0, 1], [1, 1]]] * 2), "type without an instance: 2 px "),
        (np.array([[[1, 2], [1, 1]]] * 2), "instance of several types: id 1 "),
        (np.array([[[1, 0], [1, 0]]] * 2), "instance without a type: 1; "),
        (np.array([[[1, 7], [1, 7]]] * 2), "type outside the scheme: '7' is not in conic"),
        (np.array([[1, None]]), "unreadable: .* holds Python objects, which are not read"),
    ],
)
def test_unusable_arrays_are_refused(tmp_path: Path, mask: np.ndarray, reason: str) -> None:
    with pytest.raises(UnreadablePatch, match=reason):
        typed_nuclei(read(tmp_path, mask))


def test_cellvit_label_is_refused_with_working_advice(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    label = {"inst_map": PAIRS[..., 0], "type_map": PAIRS[..., 1]}
    np.save(path, np.array(label, object), allow_pickle=True)
    assert Npy.recognises(path)
    with pytest.raises(UnreadablePatch, match=r"not data: .*np\.save\(file, np\.stack"):
        Npy().read(path, (2, 2))
    d = np.load(path, allow_pickle=True).item()
    np.save(path, np.stack([d["inst_map"], d["type_map"]], -1))
    assert Npy().read(path, (2, 2)).types


def test_recognised_files(tmp_path: Path) -> None:
    folder = tmp_path / "instances"
    folder.mkdir()
    shapes = {"pairs": (4, 4, 2), "channels": (4, 4, 6), "map": (4, 4), "image": (4, 4, 3)}
    for name, shape in shapes.items():
        np.save(tmp_path / f"{name}.npy", np.zeros(shape))
    np.save(folder / "pairs.npy", np.zeros((4, 4, 2)))
    (tmp_path / "garbage.npy").write_bytes(b"garbage")
    recognised = {path.name for path in tmp_path.rglob("*.npy") if Npy.recognises(path)}
    assert recognised == {"pairs.npy", "channels.npy"}
    assert not Npy.recognises(folder / "pairs.npy")
    assert not Npy.recognises(tmp_path / "none.npy")
