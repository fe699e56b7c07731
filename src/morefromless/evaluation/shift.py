"""How far the features of other patches lie from those that a probe was fitted to."""

import numpy as np
import numpy.typing as npt

MOST = 10_000
"""Patches that the covariance is estimated from at most, evenly spaced."""


class FeatureDistance:
    """Mahalanobis distance to the distribution of some features (N, D), taken as one Gaussian.

        d(x)² = (x - μ)ᵀ Σ⁻¹ (x - μ) / D

    with μ and Σ of the features, and Σ shrunk as by Ledoit and Wolf (2004), since N may be below D.
    For patches of that distribution d is about 1 where N is many times D, and less where Σ is
    shrunk much. It does not change when all features are scaled.
    Lee et al. (2018), arXiv 1807.03888, tell patches of other data sets by it.

    >>> drawn = np.random.default_rng(0).normal(size=(3000, 4))
    >>> distance = FeatureDistance(drawn[:2000])
    >>> round(distance(drawn[2000:]), 1), round(distance(drawn[2000:] + [5, 0, 0, 0]), 1)
    (1.0, 2.7)
    """

    def __init__(self, features: npt.ArrayLike) -> None:
        values = np.asarray(features, np.float64)
        # A study is planned without waiting for scikit-learn.
        from sklearn.covariance import LedoitWolf

        self._fitted = LedoitWolf().fit(values[:: -(-len(values) // MOST)])

    def __call__(self, features: npt.ArrayLike) -> float:
        """The root of the mean of d² over patches (M, D)."""
        values = np.asarray(features, np.float64)
        return float(np.sqrt(self._fitted.mahalanobis(values).mean() / values.shape[1]))
