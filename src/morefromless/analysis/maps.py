"""Features in two dimensions, two encoders' features in one space, and nearest neighbours."""

import numpy as np
import numpy.typing as npt
from scipy.linalg import orthogonal_procrustes
from sklearn.decomposition import PCA

from morefromless.errors import ConfigError

Floats = npt.NDArray[np.float64]


def project(
    features: npt.ArrayLike, method: str = "pca", seed: int = 0
) -> tuple[Floats, tuple[float, ...]]:
    """Features in two dimensions, (N, D) -> (N, 2), and the share of variance of each axis.

    `method` is `pca` (scikit-learn's) or `umap` (umap-learn's, cosine distances). Axes of UMAP have
    no shares. Raises `ConfigError` where umap-learn is not installed.
    """
    values = np.asarray(features, np.float64)
    if method == "pca":
        components = PCA(2, svd_solver="full")
        points = components.fit_transform(values)
        return points, tuple(map(float, components.explained_variance_ratio_))
    try:
        from umap import UMAP
    except ImportError as error:
        raise ConfigError(
            "--map umap takes umap-learn, which is not installed; install it with pip install "
            "'morefromless[maps]', or leave --map out for pca."
        ) from error
    neighbours = min(15, len(values) - 1)
    points = UMAP(
        n_neighbors=neighbours, metric="cosine", random_state=seed, n_jobs=1
    ).fit_transform(values)
    return np.asarray(points, np.float64), ()


def align(first: npt.ArrayLike, second: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Two encoders' features of the same patches in one space: (N, D), (N, E) -> (N, k) each.

    Each is centred, scaled to unit mean square and reduced to its first k principal components, k
    being 50 or fewer. Then the second is rotated onto the first by the orthogonal Procrustes map.
    The distances that remain are those which no rotation explains, as in linear CKA.
    """
    reduced = []
    for features in (first, second):
        values = np.asarray(features, np.float64)
        values = values - values.mean(axis=0)
        scale = np.sqrt(np.square(values).sum(axis=1).mean())
        width = min(50, *np.shape(first), *np.shape(second))
        reduced.append(PCA(width, svd_solver="full").fit_transform(values / (scale or 1)))
    rotation, _ = orthogonal_procrustes(reduced[1], reduced[0])
    return reduced[0], reduced[1] @ rotation


def neighbours(features: npt.ArrayLike, count: int) -> npt.NDArray[np.int64]:
    """For each patch the `count` others whose features are nearest by cosine, nearest first.

    (N, D) -> (N, count), or fewer where there are not so many others. Of equally near ones the
    earlier comes first.

    >>> neighbours([[1, 0], [0, 1], [1, 0.1]], 1).tolist()
    [[2], [2], [0]]
    """
    values = np.asarray(features, np.float32)
    norms = np.linalg.norm(values, axis=1, keepdims=True)
    unit = values / np.where(norms > 0, norms, 1)
    count = min(count, len(unit) - 1)
    last = max(1, count)
    nearest = np.empty((len(unit), count), np.int64)
    for start in range(0, len(unit), 1024):
        rows = np.arange(start, min(start + 1024, len(unit)))
        near = unit[rows] @ unit.T
        near[np.arange(len(rows)), rows] = -np.inf
        # Only what is as near as the last that counts is sorted.
        limits = np.partition(near, -last, axis=1)[:, -last]
        for row, similarities, least in zip(rows, near, limits, strict=True):
            places = np.flatnonzero(similarities >= least)
            nearest[row] = places[np.argsort(-similarities[places], kind="stable")[:count]]
    return nearest
