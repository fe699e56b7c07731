"""The system's own controls: asymmetric training wins where it must, and not where it must not."""

from dataclasses import replace
from pathlib import Path

import pytest

from morefromless.config import DemoConfig
from morefromless.demo import CONTROLS, MIN_GAIN, STUDY_OPTIONS, Control, compare_control
from morefromless.errors import ConfigError
from morefromless.evaluation.contrasts import ALPHA


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both controls in one folder: they share what is trained on the primary images alone."""
    return tmp_path_factory.mktemp("demo")


@pytest.mark.xdist_group("demo")
@pytest.mark.timeout(900)  # six runs at length; the machine may be busy
@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: control.name)
def test_controls_come_out_as_they_must(
    control: Control, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The verdict is on the two arms that learn without labels.
    monkeypatch.setitem(STUDY_OPTIONS, "supervised_epochs", 1)
    config = DemoConfig(out=folder, jobs=1, seeds=3 if control.wins else 2)
    contrast = compare_control(control, config).contrasts[0]
    assert contrast.name == "asymmetric - symmetric, both independent"
    assert contrast.difference.includes_seeds
    assert control.passed(contrast)
    if control.wins:
        # Not by a hair, on any machine; and what the asymmetric encoder reads, it reads from the
        # primary image, so the signal is there.
        assert contrast.difference.estimate > 0.1
        assert 2 * contrast.p < ALPHA  # whatever supervised training reaches

    # What wins is a test and a margin, not either of them.
    at, above = (replace(contrast.difference, low=low) for low in (MIN_GAIN, 2 * MIN_GAIN))
    for p, interval, won in ((0.01, above, True), (0.01, at, False), (0.06, above, False)):
        changed = replace(contrast, holm_p=p, difference=interval)
        assert control.passed(changed) == (won == control.wins)


def test_one_seed_is_refused() -> None:
    with pytest.raises(ConfigError):
        DemoConfig(seeds=1)
