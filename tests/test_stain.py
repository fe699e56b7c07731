"""Macenko's stains against StainTools, TIAToolbox, torchstain and the true stains. Images without
two stains stay unchanged."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from morefromless.errors import ConfigError
from morefromless.modalities.macenko import Macenko, reference_stains
from morefromless.pairs import build_modality
from morefromless.stain import (
    MAX_TISSUE_LUMINANCE,
    Stains,
    _luminance,
    estimate,
    normalise_stains,
    unchanged,
)
from morefromless.views.stain import Stain, jitter
from tests.conformance import Case, cases
from tests.data.slides import INK
from tests.real import real

CASES = {str(case).removeprefix("macenko/"): case for case in cases("macenko")}
TISSUE_CASES = ("full_tissue", "with_background", "mostly_background")


def images(case: Case) -> tuple[torch.Tensor, torch.Tensor]:
    return tuple(torch.from_numpy(case.inputs[k])[None].double() for k in ("image", "target"))  # type: ignore[return-value]


def all_usable(stains: Stains) -> Stains:
    """Mark all stains as usable: the references also normalise unusable images."""
    return Stains(stains.matrix, stains.strengths, torch.ones_like(stains.usable))


@pytest.mark.parametrize("kind", CASES)
def test_agrees_with_torchstain(kind: str) -> None:
    case = CASES[kind]
    image, target = images(case)
    stains, reference = estimate(image, "density"), estimate(target, "density")
    for name in case.names("alternative"):
        match name.removeprefix("torchstain_numpy."):
            case "HE":
                case.close(stains.matrix[0].T, name)
            case "HE_target":
                case.close(reference.matrix[0].T, name)
            case "maxC":
                case.close(stains.strengths[0], name)
            case "fit.image":
                changed = normalise_stains(image, all_usable(stains), reference, "density")
                case.close(changed[0].floor(), name)
            case "default_ref.image":
                default_reference = reference_stains("")
                changed = normalise_stains(image, all_usable(stains), default_reference, "density")
                case.close(changed[0].floor(), name)


@pytest.mark.parametrize("kind", TISSUE_CASES)
@pytest.mark.parametrize("precision", ["f64", "f32"])
def test_agrees_with_staintools_and_tiatoolbox(kind: str, precision: str) -> None:
    case = CASES[kind]
    image, target = images(case)
    if precision == "f32":
        image, target = image.to(torch.uint8), target.to(torch.uint8)
    stains, reference = estimate(image), estimate(target)
    case.close(stains.matrix[0], "staintools.stain_matrix", precision)
    case.close(reference.matrix[0], "staintools.stain_matrix_target", precision)
    assert stains.usable.all()
    case.close(normalise_stains(image, stains, reference)[0].floor(), "tiatoolbox.image")


@pytest.mark.parametrize("kind", ["full_tissue", "with_background", "with_black_pixels"])
def test_true_stains_are_recovered(kind: str) -> None:
    """Also with ten black pixels, which change the references' stains by 0.4."""
    case = CASES[kind]
    stains = estimate(images(case)[0])
    assert np.abs(stains.matrix[0].numpy() - case.inputs["true_stain_matrix"]).max() < 0.025


def test_faint_stain_is_not_amplified_beyond_the_limit() -> None:
    reference = reference_stains("")
    for share, is_unchanged in ((0.26, False), (0.24, True)):
        faint = Stains(
            reference.matrix, reference.strengths * torch.tensor([1, share]), reference.usable
        )
        assert unchanged(faint, reference).tolist() == [is_unchanged]


def test_luminance_is_that_of_srgb() -> None:
    # CIE L* of 80 is a grey of 198 of 255 (197.9), and white has luminance 1.
    grey = _luminance(torch.tensor([197.0, 199.0, 255.0])[:, None].expand(3, 3))
    assert grey[0] < MAX_TISSUE_LUMINANCE < grey[1]
    assert grey[2] == pytest.approx(1, abs=1e-5)


def inked(colour: tuple[int, int, int]) -> torch.Tensor:
    noise = np.random.default_rng(0).normal(0, 6, (64, 64, 3))
    image = np.full((64, 64, 3), 244.0)
    image[8:56] = colour
    return torch.from_numpy(np.clip(image + noise, 0, 255).astype(np.uint8))[None]


@pytest.mark.parametrize(
    "image",
    [
        *(
            pytest.param(images(case)[0].to(torch.uint8), id=kind)
            for kind, case in CASES.items()
            if kind not in (*TISSUE_CASES, "with_black_pixels")
        ),
        *(pytest.param(inked(colour), id=f"{name} ink") for name, colour in INK.items()),
        pytest.param(torch.zeros(1, 16, 16, 3, dtype=torch.uint8), id="black"),
    ],
)
def test_images_without_two_stains_are_unchanged(image: torch.Tensor) -> None:
    modality = Macenko()
    assert modality.unchanged(image).all()
    assert (
        (modality.render(image, image.shape[1])[0] * 255)
        .permute(1, 2, 0)
        .round()
        .equal(image[0].float())
    )


def test_batch_equals_single_patches() -> None:
    kinds = [*TISSUE_CASES, "eosin_only", "with_black_pixels"]
    batch = torch.cat([images(CASES[kind])[0].to(torch.uint8) for kind in kinds])
    batched = Macenko().render(batch, 64)
    single = torch.cat([Macenko().render(patch[None], 64) for patch in batch])
    torch.testing.assert_close(batched, single, atol=1e-4, rtol=0)
    assert Macenko().unchanged(batch).tolist() == [False, False, False, True, False]


def test_reference_is_an_image_or_numbers(tmp_path: Path) -> None:
    image = images(CASES["full_tissue"])[1].to(torch.uint8)
    Image.fromarray(image[0].numpy()).save(tmp_path / "reference.png")
    modality = build_modality(f"macenko:reference={tmp_path / 'reference.png'}")
    normalised = modality.render(image, 64) * 255
    # Its own stains: almost unchanged.
    assert (normalised[0].permute(1, 2, 0) - image[0]).abs().mean() < 4
    numbers = "0.65/0.70/0.29/0.07/0.99/0.11/1.6/0.97"
    assert build_modality(f"macenko:reference={numbers}").spec == f"macenko:reference={numbers}"
    Image.new("RGB", (32, 32), (244, 244, 244)).save(tmp_path / "white.png")
    with pytest.raises(ConfigError, match="does not contain hematoxylin and eosin; use a patch"):
        build_modality(f"macenko:reference={tmp_path / 'white.png'}")
    with pytest.raises(ConfigError, match="cannot read its reference"):
        build_modality(f"macenko:reference={tmp_path / 'none.png'}")


def test_jitter_agrees_with_a_naive_loop() -> None:
    """Against a float64 loop: separate the stains, change them, and combine them."""
    from morefromless.views.stain import RUIFROK

    generator = torch.Generator().manual_seed(0)
    patch = 0.2 + 0.7 * torch.rand(1, 3, 4, 4, generator=generator)
    factors, shifts = torch.tensor([[1.2, 0.9, 1.0]]), torch.tensor([[0.01, -0.02, 0.0]])
    changed = jitter(patch, factors, shifts)
    stains = np.array([np.array(s) / np.linalg.norm(s) for s in RUIFROK])
    for y, x in np.ndindex(4, 4):
        density = -np.log(patch[0, :, y, x].double().numpy())
        concentrations = np.linalg.solve(stains.T, density) * factors[0].numpy() + shifts[0].numpy()
        expected = np.exp(-(concentrations @ stains))
        np.testing.assert_allclose(changed[0, :, y, x].numpy(), expected, atol=1e-5)
    identical = jitter(patch, torch.ones(1, 3), torch.zeros(1, 3))
    torch.testing.assert_close(identical, patch, atol=1e-5, rtol=0)


def test_stain_views_keep_white_and_are_reproducible() -> None:
    patches = torch.ones(4, 3, 16, 16)
    views = Stain().augment(patches, torch.Generator().manual_seed(1))
    assert views.min() > 0.93
    tissue = torch.rand(4, 3, 16, 16)
    drawn = [Stain().augment(tissue, torch.Generator().manual_seed(2)) for _ in range(2)]
    assert drawn[0].equal(drawn[1])
    with pytest.raises(ConfigError, match="--views stain changes colours of 3 channels"):
        Stain().check(5)


def test_normalised_real_patches_vary_less() -> None:
    files = sorted((real("colorectal") / "test").rglob("*.jpg"))[::150]
    patches = torch.stack([torch.from_numpy(np.asarray(Image.open(f)).copy()) for f in files])
    modality = Macenko()
    fitted = ~modality.unchanged(patches)
    assert fitted.float().mean() > 0.7
    after = (modality.render(patches, patches.shape[1]) * 255).permute(0, 2, 3, 1)
    spread = [estimate(p[fitted].float()).strengths.std(0) for p in (patches, after)]
    assert (spread[1] < 0.5 * spread[0]).all()
    assert unchanged(estimate(patches), reference_stains("")).equal(~fitted)
