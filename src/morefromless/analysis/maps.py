"""Project features to two dimensions, align features of two encoders, find nearest neighbours."""

import numpy as np
import numpy.typing as npt
from scipy.linalg import orthogonal_procrustes
from sklearn.decomposition import PCA

from morefromless.errors import ConfigError

Floats = npt.NDArray[np.float64]


def project(
    features: npt.ArrayLike, method: str = "pca", seed: int = 0
) -> tuple[Floats, tuple[float, ...]]:
    """Project features to two dimensions, (N, D) -> (N, 2), with each axis's share of variance.

    `method` is `pca` (scikit-learn) or `umap` (umap-learn, cosine distances). The shares are empty
    for UMAP. Raises `ConfigError` if umap-learn is needed but not installed.
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
            "--map umap needs umap-learn, which is not installed; install it with pip install "
            "'morefromless[maps]', or remove --map to use pca."
        ) from error
    neighbours = min(15, len(values) - 1)
    points = UMAP(
        n_neighbors=neighbours, metric="cosine", random_state=seed, n_jobs=1
    ).fit_transform(values)
    return np.asarray(points, np.float64), ()


def align(first: npt.ArrayLike, second: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Align two encoders' features of the same patches: (N, D), (N, E) -> (N, k) each.

    Both are centred, scaled to unit mean square and reduced to their first k principal components,
    with k at most 50. The orthogonal Procrustes map then rotates the second onto the first. The
    remaining distances are those that no rotation explains, as in linear CKA.
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
    """For each patch, the `count` nearest other patches by cosine similarity, nearest first.

    (N, D) -> (N, count), or fewer columns if there are fewer other patches. Among equally near
    patches, the earlier comes first.

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
        similarity = unit[rows] @ unit.T
        similarity[np.arange(len(rows)), rows] = -np.inf
        # Sort only patches that are at least as near as the last selected neighbour.
        limits = np.partition(similarity, -last, axis=1)[:, -last]
        for row, similarities, limit in zip(rows, similarity, limits, strict=True):
            candidates = np.flatnonzero(similarities >= limit)
            nearest[row] = candidates[np.argsort(-similarities[candidates], kind="stable")[:count]]
    return nearest
