"""The controls: asymmetric training wins on the positive one and not on the negative one."""

from dataclasses import replace
from pathlib import Path

import pytest

from morefromless.config import DemoConfig
from morefromless.demo import CONTROLS, MIN_GAIN, STUDY_OPTIONS, Control, compare_control
from morefromless.errors import ConfigError
from morefromless.evaluation.contrasts import ALPHA


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for both controls: they share the runs on primary images only."""
    return tmp_path_factory.mktemp("demo")


@pytest.mark.xdist_group("demo")
@pytest.mark.timeout(900)  # six long runs; the machine may be busy
@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: control.name)
def test_controls_give_the_expected_verdict(
    control: Control, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The verdict compares only the two self-supervised arms.
    monkeypatch.setitem(STUDY_OPTIONS, "supervised_epochs", 1)
    config = DemoConfig(out=folder, jobs=1, seeds=3 if control.wins else 2)
    contrast = compare_control(control, config).contrasts[0]
    assert contrast.name == "asymmetric - symmetric, both independent"
    assert contrast.difference.includes_seeds
    assert control.passed(contrast)
    if control.wins:
        # The gain is large on any machine. The asymmetric encoder sees only the primary image, so
        # the signal is in that image.
        assert contrast.difference.estimate > 0.1
        assert 2 * contrast.p < ALPHA  # for any result of supervised training

    # A win needs both a significant test and a margin.
    at_margin, above_margin = (
        replace(contrast.difference, low=low) for low in (MIN_GAIN, 2 * MIN_GAIN)
    )
    for p, interval, is_win in (
        (0.01, above_margin, True),
        (0.01, at_margin, False),
        (0.06, above_margin, False),
    ):
        altered = replace(contrast, holm_p=p, difference=interval)
        assert control.passed(altered) == (is_win == control.wins)


def test_one_seed_is_refused() -> None:
    with pytest.raises(ConfigError):
        DemoConfig(seeds=1)
