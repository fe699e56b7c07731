"""The system's own controls: asymmetric training wins where it must, and not where it must not."""

from dataclasses import replace
from pathlib import Path

import pytest

from morefromless.demo import CONTROLS, MARGIN, Control, compare_control
from morefromless.errors import ConfigError
from morefromless.options import DemoOptions
from morefromless.report.table import contrast_of


@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: control.name)
def test_controls_come_out_as_they_must(control: Control, tmp_path: Path) -> None:
    comparison = compare_control(control, DemoOptions(out=tmp_path, jobs=1))
    contrast = contrast_of(comparison, "full:primary", "independent")
    assert contrast.difference.includes_seeds
    assert control.passed(contrast)
    if control.wins:
        # Not by a hair: the demonstration rests on it, on any machine.
        assert contrast.difference.estimate > 0.15
        supervised = next(row for row in comparison.rows if row.arm.kind == "supervised")
        symmetric = next(row for row in comparison.rows if row.arm.kind == "symmetric")
        assert supervised.accuracy.estimate > symmetric.accuracy.estimate  # the signal is there

    # What wins is a verdict and a margin, not either of them.
    at, above = (replace(contrast.difference, low=low) for low in (MARGIN, 2 * MARGIN))
    for verdict, interval, won in (
        ("better", above, True),
        ("better", at, False),
        ("no verdict", above, False),
        ("worse", above, False),
    ):
        changed = replace(contrast, verdict=verdict, difference=interval)
        assert control.passed(changed) == (won == control.wins)


def test_one_seed_is_refused() -> None:
    with pytest.raises(ConfigError, match="--seeds 2 or more"):
        DemoOptions(seeds=1)
