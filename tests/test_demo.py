"""The system's own controls: asymmetric training wins where it must, and not where it must not."""

from pathlib import Path

import pytest

from morefromless.comparison.compare import compare
from morefromless.demo import CONTROLS, RECIPE, SOURCE, Control
from morefromless.ingest import ingest, open_source
from morefromless.options import CompareOptions
from morefromless.report.table import contrast_of


@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: control.name)
def test_controls_come_out_as_they_must(control: Control, tmp_path: Path) -> None:
    ingest(open_source(SOURCE + control.name), tmp_path / "store", progress=False)
    comparison = compare(
        CompareOptions(
            store=tmp_path / "store",
            out=tmp_path / "out",
            primary=("full:primary",),
            privileged="full:privileged",
            sharing=("independent",),
            seeds=1,
            jobs=1,
            **RECIPE,
        )
    )
    contrast = contrast_of(comparison, "full:primary", "independent")
    assert contrast.verdict in control.passes
    if control.name == "positive":
        # Not by a hair: the demonstration rests on it, on any machine.
        assert contrast.difference.estimate > 0.1
        supervised = next(row for row in comparison.rows if row.arm.kind == "supervised")
        symmetric = next(row for row in comparison.rows if row.arm.kind == "symmetric")
        assert supervised.accuracy.estimate > symmetric.accuracy.estimate  # the signal is there
