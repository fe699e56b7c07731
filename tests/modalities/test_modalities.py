"""Output of `full` and `downsample`, and their specifications."""

import pytest
import torch
from torch.nn import functional as F

from morefromless import modalities
from morefromless.errors import ConfigError
from morefromless.modalities import Modality
from morefromless.modalities.downsample import Downsample
from morefromless.modalities.full import Full
from morefromless.specs import build

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@pytest.fixture
def patches() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (3, 28, 28, 3), dtype=torch.uint8, generator=generator)


def reference(patches: torch.Tensor) -> torch.Tensor:
    return patches.permute(0, 3, 1, 2).double() / 255


def test_full_at_the_stored_size_is_the_stored_patch(patches: torch.Tensor) -> None:
    rendered = Full().render(patches, 28)
    assert rendered.dtype == torch.float32
    assert torch.equal((rendered * 255).round().to(torch.uint8), patches.permute(0, 3, 1, 2))


@pytest.mark.parametrize("size", [9, 14, 50])
def test_full_is_bilinear_and_antialiased_when_shrinking(patches, size: int) -> None:
    expected = F.interpolate(reference(patches), size, mode="bilinear", antialias=size < 28)
    torch.testing.assert_close(Full().render(patches, size).double(), expected, rtol=0, atol=1e-6)


def test_area_by_an_integer_factor_is_a_mean_over_squares(patches: torch.Tensor) -> None:
    low = reference(patches).unflatten(3, (7, 4)).unflatten(2, (7, 4)).mean((3, 5))
    rendered = Downsample(7).render(patches, 7)
    torch.testing.assert_close(rendered.double(), low, rtol=0, atol=1e-6)
    back = F.interpolate(low, 40, mode="bilinear")
    torch.testing.assert_close(Downsample(7).render(patches, 40).double(), back, rtol=0, atol=1e-6)


@pytest.mark.parametrize("interpolation", ["antialiased", "point"])
def test_other_interpolations_agree_with_torch(patches: torch.Tensor, interpolation) -> None:
    antialias = interpolation == "antialiased"
    low = F.interpolate(reference(patches), 5, mode="bilinear", antialias=antialias)
    expected = F.interpolate(low, 16, mode="bilinear")
    rendered = Downsample(5, interpolation).render(patches, 16)
    torch.testing.assert_close(rendered.double(), expected, rtol=0, atol=1e-6)


def test_a_smaller_input_is_reduced_again_without_aliasing(patches: torch.Tensor) -> None:
    low = F.interpolate(reference(patches), 14, mode="bilinear", antialias=True)
    expected = F.interpolate(low, 6, mode="bilinear", antialias=True)
    rendered = Downsample(14, "antialiased").render(patches, 6)
    torch.testing.assert_close(rendered.double(), expected, rtol=0, atol=1e-6)


def test_downsampling_to_the_stored_side_is_full(patches: torch.Tensor) -> None:
    torch.testing.assert_close(Downsample(28).render(patches, 28), Full().render(patches, 28))


def test_downsampling_keeps_size_squared_numbers() -> None:
    # The rank of a 7 x 7 view is at most 7 at any output size.
    patches = torch.randint(0, 256, (1, 56, 56, 3), dtype=torch.uint8)
    assert (
        torch.linalg.matrix_rank(Downsample(7).render(patches, 56)[0, 0].double(), rtol=1e-5) == 7
    )
    assert torch.linalg.matrix_rank(Full().render(patches, 56)[0, 0].double(), rtol=1e-5) > 50


def test_resolution_is_at_most_the_stored_side() -> None:
    assert Full().resolution(150) == 150
    assert Downsample(7).resolution(150) == 7
    assert Downsample(200).resolution(150) == 150


def test_empty_batch_is_accepted() -> None:
    assert Downsample(7).render(torch.zeros(0, 28, 28, 3, dtype=torch.uint8), 16).shape == (
        0,
        3,
        16,
        16,
    )


@pytest.mark.parametrize("device", DEVICES)
def test_shape_range_and_device(patches: torch.Tensor, device: str) -> None:
    for modality in (Full(), Downsample(7), Downsample(9, "point")):
        on_device = patches.to(device)
        rendered = modality.render(on_device, 32)
        assert rendered.shape == (3, 3, 32, 32)
        assert rendered.device.type == device
        assert rendered.min() >= 0
        assert rendered.max() <= 1
        assert torch.equal(on_device.cpu(), patches)
        torch.testing.assert_close(rendered.cpu(), modality.render(patches, 32), rtol=0, atol=1e-3)


def test_spec_builds_the_modality() -> None:
    assert build("full", modalities, Modality) == Full()
    assert build("downsample:7", modalities, Modality) == Downsample(7, "area", "he")
    modality = build("downsample:14,interpolation=point,array=ihc", modalities, Modality)
    assert modality == Downsample(14, "point", "ihc")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("downsample:0", "has no pixels"),
        ("downsample:-3", "has no pixels"),
        ("downsample:7,cubic", "area or antialiased or point"),
        ("downsample", "is missing size"),
    ],
)
def test_invalid_specs_are_refused(spec: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(spec, modalities, Modality)


def test_invalid_interpolation_in_python_is_refused() -> None:
    with pytest.raises(ConfigError, match="'cubic' is not an interpolation"):
        Downsample(7, "cubic")  # type: ignore[arg-type]


def test_more_pixels_than_stored_are_refused(patches: torch.Tensor) -> None:
    with pytest.raises(ConfigError, match="downsample:56 is larger than the patches of 28 pixels"):
        Downsample(56).render(patches, 56)
