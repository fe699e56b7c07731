"""The encoder as a step of scikit-learn's pipelines.

`check_estimator` passes tables of floats, which are not images. Therefore only its checks without
data are used here, except the check that every parameter has a default: there is no default
encoder.
"""

import copy

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_checks

from morefromless import EncoderTransformer
from morefromless.data.store import Store
from morefromless.errors import ConfigError
from morefromless.evaluation.loading import load_encoder
from morefromless.runs import Run

CHECKS = (
    "estimator_cloneable",
    "estimator_tags_renamed",
    "valid_tag_types",
    "estimator_repr",
    "no_attributes_set_in_init",
    "get_params_invariance",
    "set_params",
    "do_not_raise_errors_in_init_or_set_params",
    "mixin_order",
)


@pytest.mark.parametrize("name", CHECKS)
def test_transformer_is_an_estimator(name: str) -> None:
    check = getattr(estimator_checks, f"check_{name}")
    check("EncoderTransformer", EncoderTransformer("runs/a"))


def test_features_match_those_of_the_encoder(run: Run, tissue: Store) -> None:
    rows = np.arange(20)
    patches = np.asarray(tissue.array("he")[rows])
    transformer = EncoderTransformer(run.path)
    with pytest.raises(NotFittedError):
        transformer.transform(patches)
    features = transformer.fit_transform(patches)
    expected = load_encoder(run.path).represent(tissue, rows)
    torch.testing.assert_close(torch.from_numpy(features), expected)
    assert transformer.get_feature_names_out()[0] == "encodertransformer0"
    copied = copy.deepcopy(transformer)
    np.testing.assert_array_equal(copied.transform(patches), features)
    privileged = clone(transformer).set_params(branch="privileged").fit(patches)
    assert not np.allclose(privileged.transform(patches), features)


def test_transformer_works_in_a_pipeline(run: Run, tissue: Store) -> None:
    rows = tissue.indices("train")
    patches, labels = np.asarray(tissue.array("he")[rows]), tissue.labels[rows]
    pipeline = make_pipeline(EncoderTransformer(run.path), LogisticRegression(max_iter=200))
    scores = cross_val_score(pipeline, patches, labels, cv=3)
    assert scores.mean() > 1 / len(tissue.classes)


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((2, 8, 9, 3), np.uint8),
        np.zeros((2, 8, 8, 4), np.uint8),
        np.zeros((2, 8, 8, 3), np.float32),
        np.zeros((8, 8, 3), np.uint8),
        np.zeros((0, 8, 8, 3), np.uint8),
    ],
)
def test_invalid_arrays_are_refused_with_their_shape(run: Run, images: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"expected \(N, H, H, 3\) uint8, got \("):
        EncoderTransformer(run.path).fit(images).transform(images)


def test_missing_encoder_is_an_error() -> None:
    with pytest.raises(ConfigError, match="There is no run or exported encoder at runs/none"):
        EncoderTransformer("runs/none").fit([])
