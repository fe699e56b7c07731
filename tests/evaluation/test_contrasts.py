"""When the verdict of a contrast is better or worse, and the remark if there is no verdict."""

import numpy as np
import pytest

from morefromless.evaluation.contrasts import contrast_tests
from morefromless.evaluation.paired import difference, holm

Arms = tuple[np.ndarray, np.ndarray, np.ndarray | None]


def arms(
    a: float, b: float, *, seeds: tuple[int, int] = (3, 3), groups: int | None = 20, seed: int = 0
) -> Arms:
    """400 test patches in this many groups; a and b are the arms' mean accuracies."""
    rng = np.random.default_rng(seed)
    correct = [rng.random((n, 400)) < level for n, level in zip(seeds, (a, b), strict=True)]
    return correct[0], correct[1], None if groups is None else np.arange(400) % groups


def texts(*sides: Arms) -> list[str]:
    return [contrast.text for contrast in contrast_tests(sides, [""] * len(sides))]


@pytest.mark.parametrize("groups", [20, None])
@pytest.mark.parametrize("seeds", [(3, 3), (2, 5)])
def test_clear_differences_have_a_verdict(seeds: tuple[int, int], groups: int | None) -> None:
    for a, b, verdict in ((0.9, 0.5, "better"), (0.5, 0.9, "worse")):
        (contrast,) = contrast_tests([arms(a, b, seeds=seeds, groups=groups)], [""])
        assert (contrast.verdict, contrast.text, contrast.remark) == (verdict, verdict, "")
        assert contrast.difference.low * contrast.difference.high > 0
        assert contrast.holm_p < 0.05
    assert texts(arms(0.7, 0.7, seeds=seeds, groups=groups)) == ["no difference shown"]


def test_difference_explained_by_seeds_is_not_shown() -> None:
    rng = np.random.default_rng(0)
    levels = np.array([[0.95, 0.6, 0.8], [0.75, 0.5, 0.7]])  # seeds differ more than arms
    a, b = rng.random((2, 3, 400)) < levels[..., None]
    (contrast,) = contrast_tests([(a, b, np.arange(400) % 20)], [""])
    assert contrast.sign_flip.p < 0.001  # these encoders do differ
    assert contrast.difference.low < 0 < contrast.difference.high
    assert contrast.verdict == "no difference shown"


@pytest.mark.parametrize("seeds", [(1, 1), (1, 4), (4, 1)])
def test_one_seed_of_either_arm_gives_no_verdict(seeds: tuple[int, int]) -> None:
    for b, text in ((0.5, "differ"), (0.9, "are not shown to differ")):
        (contrast,) = contrast_tests([arms(0.9, b, seeds=seeds)], [""])
        assert contrast.verdict == "no verdict"
        assert contrast.text == f"one seed: these encoders {text}"


def test_too_few_groups_are_reported() -> None:
    clear = arms(0.95, 0.3, groups=5)
    assert texts(clear) == ["5 test groups: no difference could be shown"]
    assert texts(arms(0.95, 0.3, groups=1)) == ["1 test group: no difference could be shown"]
    assert texts(arms(0.95, 0.3, groups=6)) == ["better"]  # 2 / 2^6 < 0.05
    assert (
        texts(*[arms(0.95, 0.3, groups=6)] * 2)
        == ["6 test groups: no difference could be shown"] * 2
    )
    # Contrasts with more groups are rejected first, so the others have a smaller correction.
    assert texts(arms(0.95, 0.3, groups=6), arms(0.95, 0.3)) == ["better", "better"]


def test_contrast_with_an_untrained_arm_has_no_verdict() -> None:
    sides = [arms(0.9, 0.5), arms(0.9, 0.5)]
    untrained, trained = contrast_tests(sides, ["supervised is not above majority", ""])
    assert (untrained.verdict, untrained.text) == ("no verdict", "supervised is not above majority")
    assert trained.verdict == "better"


def test_p_is_corrected_for_all_contrasts_of_the_table() -> None:
    for level, seeds, text in (
        (0.76, (3, 3), "no difference shown"),
        (0.77, (1, 1), "one seed: these encoders are not shown to differ"),
    ):
        sides = [arms(level, 0.7, seed=seed, seeds=seeds) for seed in range(4)]
        expected = [difference(a, b, groups=groups).p for a, b, groups in sides]
        tests = contrast_tests(sides, [""] * 4)
        assert [contrast.p for contrast in tests] == expected
        assert [contrast.holm_p for contrast in tests] == holm(expected)
        borderline = [contrast for contrast in tests if contrast.p < 0.05 <= contrast.holm_p]
        assert borderline
        assert all(contrast.text == text for contrast in borderline)
