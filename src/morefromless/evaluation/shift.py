"""Distribution shift: distance of new features from those that a probe was fitted to."""

import numpy as np
import numpy.typing as npt

MAX_PATCHES = 10_000
"""Maximum number of patches for the covariance estimate, evenly spaced."""


def feature_distances(features: npt.ArrayLike, *others: npt.ArrayLike) -> list[float]:
    """Mahalanobis distance of each of `others` (M, D) to a Gaussian fitted to features (N, D).

    It is the root of the mean over patches of

        d(x)² = (x - μ)ᵀ Σ⁻¹ (x - μ) / D

    where μ and Σ are the mean and covariance of the features. Σ has Ledoit-Wolf shrinkage (2004),
    because N can be below D. For patches of the same distribution, d is about 1 if N is many times
    D, and smaller if the shrinkage is strong. Scaling all features does not change d.
    Lee et al. (2018), arXiv 1807.03888, use this distance to detect out-of-distribution samples.

    >>> drawn = np.random.default_rng(0).normal(size=(3000, 4))
    >>> distances = feature_distances(drawn[:2000], drawn[2000:], drawn[2000:] + [5, 0, 0, 0])
    >>> [round(distance, 1) for distance in distances]
    [1.0, 2.7]
    """
    # Imported here because importing scikit-learn is slow and planning a study does not need it.
    from sklearn.covariance import LedoitWolf

    values = np.asarray(features, np.float64)
    fitted = LedoitWolf().fit(values[:: -(-len(values) // MAX_PATCHES)])
    return [
        float(np.sqrt(fitted.mahalanobis(np.asarray(other, np.float64)).mean() / values.shape[1]))
        for other in others
    ]
