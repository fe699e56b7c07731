"""Random numbers and tables that are identical on all machines."""

import numpy as np

from morefromless.synthesis.rng import COSINE, SINE, Rng, circle, unit


def test_stream_equals_the_raw_stream_of_pcg64() -> None:
    raw = np.random.Generator(np.random.PCG64(np.random.SeedSequence((3, 1, 4)))).random(5)
    np.testing.assert_array_equal(Rng(3, 1, 4).uniforms(0.0, 1.0, 5), raw)
    assert [Rng(3, 1, 4).uniform(0.0, 1.0)] == raw[:1].tolist()
    assert Rng(3, 1, 5).uniform(0.0, 1.0) != raw[0]


def test_uniforms_fill_their_range_and_shape() -> None:
    drawn = Rng(0).uniforms(-2.0, 6.0, (50, 400))
    assert drawn.shape == (50, 400)
    assert drawn.min() >= -2.0
    assert drawn.max() < 6.0
    np.testing.assert_allclose(np.histogram(drawn, 8, (-2, 6))[0] / drawn.size, 0.125, atol=0.01)


def test_grain_is_triangular_with_the_stated_spread() -> None:
    grain = Rng(0).grain((3, 100, 101))
    shares = np.bincount(grain.ravel() + 3, minlength=7) / grain.size
    np.testing.assert_allclose(shares, np.array([1, 2, 3, 4, 3, 2, 1]) / 16, atol=0.01)
    assert abs(grain.std() - np.sqrt(2.5)) < 0.02


def test_directions_have_length_one_and_cover_the_circle() -> None:
    x, y = Rng(0).directions(4000)
    np.testing.assert_allclose(x * x + y * y, 1.0, atol=4e-6)
    assert abs(x.mean()) < 0.05
    assert abs(y.mean()) < 0.05
    quarter = circle(np.array([0.0, 0.25, -0.25, 1.5]))
    np.testing.assert_array_equal(quarter, [[1, 0, 0, -1], [0, 1, -1, 0]])


def test_no_direction_is_near_a_rounding_boundary() -> None:
    """A cosine with an error in its last bits (2^-52) rounds to the same multiple of 2^-20."""
    angle = np.arange(1024) * (2 * np.pi / 1024)
    for table, exact in ((COSINE, np.cos(angle)), (SINE, np.sin(angle))):
        scaled = exact * 2**20
        assert np.abs(np.abs(scaled - np.floor(scaled)) - 0.5).min() > 1e-5
        np.testing.assert_allclose(table, exact, atol=2.0**-21)


def test_unit_has_length_one_or_points_right() -> None:
    x, y = unit(np.array([3.0, 0.0]), np.array([-4.0, 0.0]))
    np.testing.assert_allclose(x, [0.6, 1.0])
    np.testing.assert_allclose(y, [-0.8, 0.0])
