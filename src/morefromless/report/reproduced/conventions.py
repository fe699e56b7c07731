"""Where the paper's text and its authors' code differ or are silent, and which of them was used."""

import re
from collections.abc import Callable, Iterable
from typing import Any

from morefromless.report.reproduced.used import UNKNOWN, Used
from morefromless.report.reproduced.wording import SPARSE

# What the paper's text says, what its code does, and which of the two a name of ours stands for.
_OBJECTIVES = {
    "vicreg": "25 MSE, 12.5 a branch's variance, 1 covariance, as the original code (vicreg)",
    "vicreg:authors": "50 MSE, 25 a branch's variance, 1 covariance (vicreg:authors)",
    "simclr": "NT-Xent, all 2N − 2 negatives (simclr)",
    "simclr:authors": "negatives across branches only (simclr:authors)",
}
_ENCODERS = {
    "resnet50": "v1.5: stride in the 3 × 3 convolution, no biases, He initialisation (resnet50)",
    "keras-v1": "as the code (keras-v1)",
}
_VIEWS = {
    "table-s1": "Table S1 in sound units: solarising above a threshold, brightness by a share, "
    "noise on the background (table-s1)",
    "authors": "as the code (authors)",
}


def conventions(used: Used) -> list[tuple[str, ...]]:
    """Only of what was run; where no record is left, all, without what was used."""
    objectives = [str(one) for one in used("objective")]
    told = not objectives
    rows: list[tuple[str, ...]] = []
    if told or _some("vicreg", objectives):
        rows.append(
            (
                "VICReg's weights",
                "λ 25, μ 25, ν 1, as the original",
                "each pair is counted twice and branches are added up: 50 MSE, 25 a branch's "
                "variance, 1 covariance",
                _named(_some("vicreg", objectives), _OBJECTIVES),
            )
        )
    if told or _some("simclr", objectives):
        rows.append(
            (
                "SimCLR's negatives",
                "as the original, t 0.5",
                "not published; later, those of the other branch only",
                _named(_some("simclr", objectives), _OBJECTIVES),
            )
        )
    sparse = [one for one in used.modalities() if SPARSE.search(one)]
    if told or sparse:
        rows.append(
            (
                "down-sampling",
                "to 7 × 7 px and back by linear interpolation; how down is not told",
                "not published; later, bilinear without antialiasing, which reads 196 of 50,176 "
                "pixels",
                _said(sparse, _downsampling),
            )
        )
    rows += [
        (
            "sharing of weights",
            "asymmetric columns independent, symmetric ones shared, told by Table S3 only",
            "not told",
            _said(used("sharing"), str),
        ),
        (
            "augmentations",
            "Table S1: names and probabilities",
            "solarising inverts every pixel, brightness moves by 0.4 of 255 at most, noise falls "
            "where a colour is exactly 0",
            _named(used("views"), _VIEWS),
        ),
        (
            "ResNet-50",
            "not told which",
            "Keras' v1: stride in the first 1 × 1 convolution, biases, Glorot initialisation",
            _named(used("encoder"), _ENCODERS),
        ),
        ("Adam's ε", "not told", "1e-7 (Keras)", _said(used("epsilon"), _power)),
        (
            "gradient clipping",
            "not told",
            "the gradient of each weight tensor, at norm 1",
            _said(used("clip_each"), _clipped),
        ),
        (
            "probe",
            "dense layer with softmax",
            "by default two layers, trained on augmented patches",
            "softmax layer on frozen features of patches as they are",
        ),
    ]
    masks = [one for one in used.modalities() if one.startswith("nuclei")]
    if masks:
        rows += [
            (
                "masks of nuclei",
                "coloured by type, repeated in 3 channels",
                "types as 0 to 5 of 255, as far as can be told; interpolated, jittered and "
                "solarised "
                "as images are",
                _said(masks, _masks),
            ),
            (
                "type of most nuclei",
                "Background only where there is no nucleus",
                "of ties the first listed; nuclei without a type count",
                "as the code (cell)",
            ),
        ]
    return rows


def _some(name: str, objectives: Iterable[str]) -> list[str]:
    return [one for one in objectives if one.partition(":")[0] == name]


def _downsampling(spec: str) -> str:
    point = "interpolation=point" in spec
    return "as the later code (interpolation=point)" if point else "area averages"


def _clipped(norm: float | None) -> str:
    return "none" if norm is None else f"each weight tensor's, at norm {norm:g}"


def _power(value: float) -> str:
    return f"{value:g}".replace("e-0", "e-")


def _masks(spec: str) -> str:
    raw = re.search(r"\braw\b", spec)
    return "as the code (nuclei:raw)" if raw else "types spread over 0 to 255, colours untouched"


def _named(values: Iterable[str], words: dict[str, str]) -> str:
    return _said(values, lambda value: words.get(value, value))


def _said(values: Iterable[Any], words: Callable[[Any], str]) -> str:
    said = dict.fromkeys(map(words, values))
    return "; ".join(said) or UNKNOWN
