"""Resizing against TensorFlow, torch, Pillow and OpenCV (tests/conformance, group `downsample`).

`point` is compared with tf_aa0 and torch_aa0, `antialiased` with tf_aa1 and torch_aa1, and `area`
with cv2_area. Rounding to 8 bits at every stage, as in pil_uint8, is not supported. The test adds
this rounding to the weights of `antialiased`, which shows that it is the only difference. The other
`info` outputs (align_corners, uint8 in torch, cv2_linear) are not supported.
"""

import numpy as np
import pytest
import torch

from morefromless.errors import DataError
from morefromless.modalities._resize import bilinear_matrices, interpolation_matrix, resize
from tests.conformance import Case, cases

VARIANTS = {
    "tf_aa0": "point",
    "torch_aa0": "point",
    "tf_aa1": "antialiased",
    "torch_aa1": "antialiased",
    "pil_uint8": "antialiased",
    "cv2_area": "area",
}


def double(image, *matrices):
    """(H, W, 3) -> (S, S, 3), float64."""
    for matrix in matrices:
        image = np.einsum("ih,hwc,jw->ijc", matrix, image.astype(np.float64), matrix, optimize=True)
    return image


def single(image, *matrices):
    """The same with the code that training uses."""
    return 255 * resize(torch.from_numpy(image)[None], *matrices)[0].permute(1, 2, 0).numpy()


def rounded(image, *matrices):
    """float64 with 8-bit rounding after each axis of each stage, columns first."""
    for matrix in matrices:
        image = np.floor(np.einsum("jw,hwc->hjc", matrix, image.astype(np.float64)) + 0.5)
        image = np.floor(np.einsum("ih,hjc->ijc", matrix, image) + 0.5)
    return image


def compared_outputs(case: Case) -> list[str]:
    return [n for n in (*case.names(), *case.names("info")) if n.split(".")[0] in VARIANTS]


@pytest.mark.parametrize(("precision", "compute"), [("f64", double), ("f32", single)])
@pytest.mark.parametrize("case", cases("downsample"), ids=str)
def test_agrees_with_every_reference(case: Case, precision: str, compute) -> None:
    image = case.inputs["image"]
    side = image.shape[0]
    for size in case.params["sizes"]:
        for variant, interpolation in VARIANTS.items():
            chain = (
                interpolation_matrix(interpolation, side, size),
                *bilinear_matrices(size, side),
            )
            apply = rounded if variant == "pil_uint8" else compute
            low, back = apply(image, *chain[:1]), apply(image, *chain)
            parts = {
                f"low{size}": low,
                f"low{size}_crop": low[:8, :8],
                f"back{size}_crop0": back[:16, :16],
                f"back{size}_crop1": back[100:116, 100:116],
                f"stats{size}": (low.mean(), low.std(), back.mean(), back.std()),
            }
            for part, value in parts.items():
                if f"{variant}.{part}" in compared_outputs(case):
                    case.close(value, f"{variant}.{part}", precision)


def test_every_conformance_output_is_compared() -> None:
    for case in cases("downsample"):
        assert set(case.names()) <= set(compared_outputs(case))
        sizes = {str(size) for size in case.params["sizes"]}
        parts = {
            n.split(".")[1].removesuffix("_crop").split("_")[0] for n in compared_outputs(case)
        }
        assert parts <= {f"{part}{size}" for part in ("low", "back", "stats") for size in sizes}


@pytest.mark.parametrize(("side", "size"), [(6, 3), (7, 3), (150, 64), (224, 7), (5, 5), (8, 1)])
def test_area_is_the_mean_over_each_square(side: int, size: int) -> None:
    # Each pixel split into `size` equal parts, then `side` parts averaged: no fractions needed.
    expected = torch.eye(side, dtype=torch.float64).repeat_interleave(size, 0)
    expected = expected.view(size, side, side).mean(1)
    torch.testing.assert_close(
        interpolation_matrix("area", side, size), expected, rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("interpolation", ["area", "antialiased", "point"])
@pytest.mark.parametrize(("side", "size"), [(9, 4), (150, 7), (3, 10)])
def test_rows_sum_to_one_and_nothing_is_negative(interpolation, side: int, size: int) -> None:
    matrix = interpolation_matrix(interpolation, side, size)
    assert matrix.shape == (size, side)
    assert matrix.min() >= 0
    torch.testing.assert_close(matrix.sum(1), torch.ones(size, dtype=torch.float64))


def test_black_and_white_stay_in_range() -> None:
    patches = torch.zeros(2, 150, 150, 3, dtype=torch.uint8)
    patches[1] = 255
    output = resize(patches, interpolation_matrix("area", 150, 7), *bilinear_matrices(7, 64))
    assert output.min() == 0
    assert output.max() <= 1
    torch.testing.assert_close(output[1], torch.ones(3, 64, 64))


def test_resize_is_float32_for_autocast_and_any_block(monkeypatch: pytest.MonkeyPatch) -> None:
    patches = torch.randint(0, 256, (5, 20, 20, 3), dtype=torch.uint8)
    matrices = (interpolation_matrix("area", 20, 7), *bilinear_matrices(7, 16))
    expected = resize(patches, *matrices)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = resize(patches, *matrices)
    assert output.dtype == torch.float32
    assert torch.equal(output, expected)
    monkeypatch.setattr("morefromless.modalities._resize._BLOCK_PIXELS", 2 * 20 * 20)
    torch.testing.assert_close(resize(patches, *matrices), expected, rtol=0, atol=1e-6)


def test_non_square_patches_are_refused() -> None:
    with pytest.raises(DataError, match="10 x 8 pixels are not square"):
        resize(torch.zeros(1, 8, 10, 3, dtype=torch.uint8))
