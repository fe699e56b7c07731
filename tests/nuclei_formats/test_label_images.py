"""Label images of instances, with label images or tables of types."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from morefromless.data.nuclei import Nuclei
from morefromless.data.schemes import CONSEP, UNTYPED
from morefromless.errors import UnreadablePatch
from morefromless.nuclei_formats import TypedInstances
from morefromless.nuclei_formats.label_images import LabelImages

MAP = np.array([[0, 300, 300], [2, 2, 0]])
TYPE_MAP = np.array([[0, 3, 3], [1, 1, 0]])


def write_file(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, content)
    elif isinstance(content, str):
        path.write_text(content, encoding="utf-8")
    else:
        Image.fromarray(content).save(path)
    return path


def read(
    root: Path, instances: tuple[str, Any], types: tuple[str, Any], shape: tuple[int, int] = (2, 3)
) -> TypedInstances:
    write_file(root / "types" / "Train" / f"a{types[0]}", types[1])
    path = write_file(root / "instances" / "Train" / f"a{instances[0]}", instances[1])
    return LabelImages().read(path, shape)


def typed_nuclei(result: TypedInstances) -> Nuclei:
    return Nuclei.typed(result.instances, result.types, CONSEP)


@pytest.mark.parametrize(
    ("suffix", "kind"),
    [
        (".png", np.uint16),
        (".tif", np.uint16),
        (".tiff", np.int32),
        (".tif", np.float32),
        (".npy", np.uint8),
        (".npy", np.int64),
        (".npy", np.float64),
    ],
)
def test_instances_are_read_exactly(tmp_path: Path, suffix: str, kind: type) -> None:
    instances = (MAP % 256 if kind is np.uint8 else MAP + 65000 * (MAP == 300)).astype(kind)
    result = read(tmp_path, (suffix, instances), (".png", TYPE_MAP.astype(np.uint8)))
    np.testing.assert_array_equal(result.instances, instances)
    assert result.instances.dtype == np.int32
    assert typed_nuclei(result).types.tolist() == [1, 3]


def test_palette_image_is_read_as_indices(tmp_path: Path) -> None:
    image = Image.fromarray(TYPE_MAP.astype(np.uint8), "L").convert("P")
    image.putdata(TYPE_MAP.ravel().tolist())
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9])
    write_file(tmp_path / "instances" / "a.npy", MAP)
    (tmp_path / "types").mkdir()
    image.save(tmp_path / "types" / "a.png")
    result = LabelImages().read(tmp_path / "instances" / "a.npy", (2, 3))
    assert result.types == {2: 1, 300: 3}


@pytest.mark.parametrize(
    ("suffix", "table", "types"),
    [
        (".csv", "instance,type\n300,Spindle\n2,1\n", {300: "Spindle", 2: "1"}),
        (".csv", "\ufefftype,x,instance\n1.0,,2\n4,,300.0\n", {2: "1", 300: "4"}),
        (".json", json.dumps({"300": "Spindle", "2": 1}), {300: "Spindle", 2: 1}),
        (
            ".json",
            json.dumps([{"instance": 2, "type": "1"}, {"instance": 300, "type": 4.0}]),
            {2: "1", 300: 4},
        ),
    ],
)
def test_tables_of_types_are_read(tmp_path: Path, suffix: str, table: str, types: dict) -> None:
    result = read(tmp_path, (".npy", MAP), (suffix, table))
    assert list(result.types.items()) == list(types.items())
    assert sorted(typed_nuclei(result).types) == [1, 4]


@pytest.mark.parametrize(
    ("suffix", "types", "reason"),
    [
        (".npy", TYPE_MAP * (MAP != 2), "instance without a type: 2;"),
        (".csv", "instance,type\n2,1\n", "instance without a type: 300;"),
        (".csv", "instance,type\n2,1\n300,\n", "instance without a type: 300;"),
        (".json", '{"2": 1, "300": null}', "instance without a type: 300;"),
        (".csv", "instance,type\n2,1\n300,1\n4,1\n", "type without an instance: 4;"),
        (".csv", "instance,type\n2,1\n2,1\n", "several types: types/a.csv lists id 2 twice;"),
        (".csv", "id,type\n2,1\n", "unreadable: types/a.csv is not a table"),
        (".csv", "instance,type\n2\nx,1\n", "unreadable: types/a.csv is not a table"),
        (".csv", "instance,type\n2.5,1\n", "unreadable: types/a.csv is not a table"),
        (".json", '{"2": [1]}', "odd type: nucleus 2 has the type 'a list';"),
        (".json", '{"2": true}', "odd type: nucleus 2 has the type 'True';"),
        (".json", '{"2": 1e999}', "odd type: nucleus 2 has the type 'inf';"),
        (".json", "[" * 100_000, "unreadable: types/a.json is not a table"),
        (".json", "3", "unreadable: types/a.json is not a table"),
        (".csv", "instance,type\n2,1\n300,Tumour\n", "type outside the scheme: 'Tumour' is not"),
        (".npy", TYPE_MAP + 4 * (MAP > 0), "type outside the scheme: '5' is not in consep"),
        (".npy", TYPE_MAP + (MAP == 0), "type without an instance: 2 px have a type but no id;"),
        (".npy", np.array([[0, 3, 1], [1, 1, 0]]), "instance of several types: id 300 has no type"),
        (".npy", TYPE_MAP[:, :2], "another size: mask 2 x 2, image 3 x 2;"),
        (".npy", TYPE_MAP / 2, "float mask: types/a.npy holds fractions;"),
    ],
)
def test_inconsistent_types_are_refused(
    tmp_path: Path, suffix: str, types: Any, reason: str
) -> None:
    with pytest.raises(UnreadablePatch) as error:
        typed_nuclei(read(tmp_path, (".npy", MAP), (suffix, types)))
    message = str(error.value).replace("Train/a", "types/a")  # the folder of the file
    assert message.startswith(reason)
    assert "; " in message


@pytest.mark.parametrize(
    ("suffix", "instances", "reason"),
    [
        (".png", np.zeros((4, 5), np.uint8), "another size: mask 5 x 4, image 3 x 2;"),
        (".npy", np.zeros((4, 5), np.uint8), "another size: mask 5 x 4, image 3 x 2;"),
        (".npy", MAP / 7, "float mask: Train/a.npy holds fractions;"),
        (".tif", (MAP / 7).astype(np.float32), "float mask: Train/a.tif holds fractions;"),
        (".png", np.zeros((2, 3, 3), np.uint8), "colour mask: Train/a.png has mode RGB;"),
        (".npy", np.zeros((2, 3, 3), np.uint8), "colour mask: Train/a.npy has 3 channels;"),
        (".npy", np.zeros((2, 3, 2), np.uint8), "not a mask: Train/a.npy is 2 x 3 x 2;"),
        (".png", MAP > 0, "not a mask: Train/a.png has mode 1;"),
        (".npy", MAP > 0, "not a mask: Train/a.npy holds bool;"),
        (".npy", np.array([[None]]), "unreadable: "),
        (".png", "garbage", "unreadable: not a png, jpg, tif, bmp or webp image"),
    ],
)
def test_unusable_instances_are_refused(
    tmp_path: Path, suffix: str, instances: Any, reason: str
) -> None:
    with pytest.raises(UnreadablePatch) as error:
        read(tmp_path, (suffix, instances), (".npy", TYPE_MAP))
    assert str(error.value).startswith(reason)


def test_lossy_and_multi_page_masks_are_refused(tmp_path: Path) -> None:
    write_file(tmp_path / "types" / "a.npy", TYPE_MAP)
    path = write_file(tmp_path / "instances" / "a.tif", MAP.astype(np.uint16))
    pages = [Image.fromarray(MAP.astype(np.uint16)) for _ in range(2)]
    pages[0].save(path, save_all=True, append_images=pages[1:])
    with pytest.raises(UnreadablePatch, match=r"several pages: instances/a.tif has more than one"):
        LabelImages().read(path, (2, 3))
    Image.fromarray(TYPE_MAP.astype(np.uint8)).save(path, format="JPEG")
    with pytest.raises(UnreadablePatch, match=r"lossy mask: instances/a.tif is a JPEG"):
        LabelImages().read(path, (2, 3))


def test_missing_and_ambiguous_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "instances" / "a.npy"
    with pytest.raises(UnreadablePatch, match=r"no segmentation: there is no a.npy; "):
        LabelImages().read(path, (2, 3))
    write_file(path, MAP)
    (tmp_path / "types").mkdir()
    with pytest.raises(UnreadablePatch, match=r"no types: types/a is missing for a.npy; add it"):
        LabelImages().read(path, (2, 3))
    write_file(tmp_path / "types" / "a.npy", TYPE_MAP)
    write_file(tmp_path / "types" / "a.csv", "instance,type\n")
    with pytest.raises(UnreadablePatch, match=r"several types: both types/a.csv and types/a"):
        LabelImages().read(path, (2, 3))


def test_label_images_without_types_are_untyped_nuclei(tmp_path: Path) -> None:
    for path in (tmp_path / "instances" / "a.npy", tmp_path / "b_cp_masks.png"):
        result = LabelImages().read(write_file(path, MAP.astype(np.uint16)), (2, 3))
        assert result.types == {2: None, 300: None}
        assert Nuclei.typed(result.instances, result.types, UNTYPED).types.tolist() == [1, 1]
        with pytest.raises(UnreadablePatch, match=r"instance without a type: 2, 300; .* untyped"):
            typed_nuclei(result)


def test_pieces_of_one_id_are_separated_on_request(tmp_path: Path) -> None:
    mask = np.zeros((12, 12), np.uint8)
    mask[:3, :3] = mask[6:9, 6:9] = mask[6:9, 0:3] = mask[9, 9] = 255  # the last touches a corner
    path = write_file(tmp_path / "a.png", mask)
    with pytest.raises(UnreadablePatch, match=r"id 255 has 3 pieces; give label-images:pieces="):
        LabelImages().read(path, (12, 12))
    assert LabelImages("one").read(path, (12, 12)).types == {255: None}
    separate = LabelImages("each").read(path, (12, 12))
    assert [(separate.instances == k).sum() for k in separate.types] == [9, 9, 10]
    many = np.kron(np.eye(12, dtype=np.uint8)[::-1] * 255, np.diag([1, 0]).astype(np.uint8))
    with pytest.raises(
        UnreadablePatch, match="has 12 pieces"
    ):  # each is less than a tenth of the image
        LabelImages().read(write_file(path, many), (24, 24))
    many[:] = 0
    many[12:] = many[:1, ::2] = 255  # one large piece, and 12 pieces below a tenth of it
    with pytest.raises(UnreadablePatch, match="has 13 pieces"):
        LabelImages().read(write_file(path, many), (24, 24))
    mask[0:4, 6:9], mask[0, 10] = 4, 4  # one of two ids has a piece and a stray pixel
    mask[6:] = 0
    assert LabelImages().read(write_file(path, mask), (12, 12)).types == {4: None, 255: None}
    table = write_file(tmp_path / "types" / "a.csv", "instance,type\n4,1\n255,3\n")
    moved = write_file(tmp_path / "instances" / "a.png", mask)
    assert table.is_file()
    assert LabelImages("each").read(moved, (12, 12)).types == {1: "1", 2: "1", 3: "3"}


def test_recognised_files(tmp_path: Path) -> None:
    assert LabelImages.recognises(tmp_path / "instances" / "Train" / "a.PNG")
    assert not LabelImages.recognises(tmp_path / "instances" / "a.csv")
    assert not LabelImages.recognises(tmp_path / "types" / "a.png")
    assert not LabelImages.recognises(tmp_path / "instances.png")
    assert not LabelImages.recognises(
        write_file(tmp_path / "rgb.png", np.zeros((2, 2, 3), np.uint8))
    )
    assert LabelImages.recognises(write_file(tmp_path / "grey.png", np.zeros((2, 2), np.uint8)))


@pytest.mark.parametrize("suffix", [".tif", ".png"])
def test_a_stated_orientation_is_applied_to_masks_too(tmp_path: Path, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = np.array([[1, 0, 0, 2], [1, 0, 0, 2]], np.uint8)
    (tmp_path / "instances").mkdir()
    Image.fromarray(stored).save(tmp_path / f"instances/a{suffix}", exif=exif)
    upright = LabelImages().read(tmp_path / f"instances/a{suffix}", (4, 2)).instances
    assert upright.tolist() == [[1, 1], [0, 0], [0, 0], [2, 2]]
