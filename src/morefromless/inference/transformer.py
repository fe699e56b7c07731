"""A frozen encoder as a scikit-learn transformer."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from morefromless.evaluation.frozen import BATCH_SIZE, represent
from morefromless.evaluation.loading import load_encoder


class EncoderTransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Images in, features out: `make_pipeline(EncoderTransformer("runs/a"), LogisticRegression())`.

    `encoder` and `branch` are passed to `load_encoder`. `fit` only loads the encoder; it does not
    train. `transform` takes patches (N, H, H, 3) uint8, or vectors (N, length) if the encoder takes
    vectors, and returns features (N, width) float32. Raises `ValueError` for arrays of another
    shape or type.
    """

    def __init__(
        self,
        encoder: str | Path,
        *,
        branch: str = "primary",
        trust: bool = False,
        device: str = "cpu",
    ) -> None:
        self.encoder = encoder
        self.branch = branch
        self.trust = trust
        self.device = device

    def fit(self, X: npt.ArrayLike, y: object = None) -> "EncoderTransformer":  # noqa: ARG002
        self.frozen_ = load_encoder(self.encoder, self.branch, trust=self.trust)
        self._n_features_out = self.frozen_.encoder.width
        return self

    def transform(self, X: npt.ArrayLike) -> npt.NDArray[np.float32]:
        check_is_fitted(self)
        values, modality = np.asarray(X), self.frozen_.modality
        expected = (modality.channels,) if modality.vector else (values.shape[1:2] * 2 + (3,))
        image = values.dtype == np.uint8
        if values.shape[1:] != expected or not len(values) or image == modality.vector:
            vectors = f"(N, {modality.channels}) float"
            array = vectors if modality.vector else "(N, H, H, 3) uint8"
            raise ValueError(f"expected {array}, got {values.shape} {values.dtype}")

        def batches() -> Iterator[Tensor]:
            for start in range(0, len(values), BATCH_SIZE):
                part = torch.tensor(values[start : start + BATCH_SIZE], device=self.device)
                yield self.frozen_.inputs(part)

        features: npt.NDArray[np.float32] = represent(
            self.frozen_.encoder, batches(), self.device
        ).numpy()
        return features

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False  # `check_estimator` then passes no float tables
        return tags
