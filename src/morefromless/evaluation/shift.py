"""How far the features of other patches lie from those that a probe was fitted to."""

import numpy as np
import numpy.typing as npt

MOST = 10_000
"""Patches that the covariance is estimated from at most, evenly spaced."""


def feature_distances(features: npt.ArrayLike, *others: npt.ArrayLike) -> list[float]:
    """Mahalanobis distance of each of `others` (M, D) to the distribution of features (N, D), taken
    as one Gaussian: the root of the mean over patches of

        d(x)² = (x - μ)ᵀ Σ⁻¹ (x - μ) / D

    with μ and Σ of the features, and Σ shrunk as by Ledoit and Wolf (2004), since N may be below D.
    For patches of that distribution d is about 1 where N is many times D, and less where Σ is
    shrunk much. It does not change when all features are scaled.
    Lee et al. (2018), arXiv 1807.03888, tell patches of other data sets by it.

    >>> drawn = np.random.default_rng(0).normal(size=(3000, 4))
    >>> distances = feature_distances(drawn[:2000], drawn[2000:], drawn[2000:] + [5, 0, 0, 0])
    >>> [round(distance, 1) for distance in distances]
    [1.0, 2.7]
    """
    # A study is planned without waiting for scikit-learn.
    from sklearn.covariance import LedoitWolf

    values = np.asarray(features, np.float64)
    fitted = LedoitWolf().fit(values[:: -(-len(values) // MOST)])
    return [
        float(np.sqrt(fitted.mahalanobis(np.asarray(other, np.float64)).mean() / values.shape[1]))
        for other in others
    ]
