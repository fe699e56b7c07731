"""Projection and alignment of features, and nearest neighbours."""

import sys

import numpy as np
import pytest

from morefromless.analysis.maps import align, neighbours, project
from morefromless.errors import ConfigError

RNG = np.random.default_rng(0)


def test_neighbours_agree_with_a_naive_loop() -> None:
    x = RNG.normal(size=(30, 4))
    x[7] = 0  # no direction: equally far from all others
    nearest = neighbours(x, 5)
    assert nearest.shape == (30, 5)
    for i in range(30):
        cosines = [
            -np.inf
            if j == i
            else float(x[i] @ x[j]) / ((np.linalg.norm(x[i]) or 1) * (np.linalg.norm(x[j]) or 1))
            for j in range(30)
        ]
        assert i not in nearest[i]
        np.testing.assert_allclose(
            np.array(cosines)[nearest[i]], np.sort(cosines)[::-1][:5], atol=1e-6
        )
    assert neighbours(x[:3], 5).shape == (3, 2)
    equally_near = [[1, 2], [0, 2], [0, 1], [0, 1], [0, 1]]
    assert neighbours(np.ones((5, 2)), 2).tolist() == equally_near
    many = neighbours(RNG.normal(size=(1030, 3)), 1)  # more than one block of comparisons
    assert (many[:, 0] != np.arange(1030)).all()


def test_a_rotated_and_scaled_copy_lies_on_the_original() -> None:
    x = RNG.normal(size=(40, 6))
    rotation = np.linalg.qr(RNG.normal(size=(6, 6)))[0]
    a, b = align(x, 3 * x @ rotation + 10)
    np.testing.assert_allclose(a, b, atol=1e-9)
    a, b = align(x, RNG.normal(size=(40, 9)))  # another width, unrelated features
    assert a.shape == b.shape == (40, 6)
    assert np.square(a).sum() == pytest.approx(40)
    # The best of all rotations; b has lost three of its dimensions.
    nearest = 40 + np.square(b).sum() - 2 * np.linalg.svd(a.T @ b, compute_uv=False).sum()
    assert np.square(a - b).sum() == pytest.approx(nearest)


def test_pca_is_the_plane_of_most_variance() -> None:
    x = RNG.normal(size=(50, 5)) * [9, 1, 5, 0.1, 0.1]
    coordinates, shares = project(x)
    variances = np.linalg.eigvalsh(np.cov((x - x.mean(0)).T))[::-1]
    np.testing.assert_allclose(coordinates.var(axis=0, ddof=1), variances[:2])
    np.testing.assert_allclose(shares, variances[:2] / variances.sum())


def test_error_without_umap_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(ConfigError, match=r"pip install 'morefromless\[maps\]'"):
        project(np.zeros((5, 2)), "umap")
