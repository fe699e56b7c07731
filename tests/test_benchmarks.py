"""`python -m benchmarks` runs and names missing packages. Nothing is timed."""

import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import benchmarks
import pytest
import torch
from benchmarks import Call, Row, Stage
from benchmarks.__main__ import main
from benchmarks._measure import Measurement, peak

from morefromless.errors import ConfigError
from morefromless.specs import build
from tests.conftest import SERVER

PAGE = "Prose.\n\n<!-- probe -->\nold\n<!-- end -->\n\nMore.\n"


def test_table_is_written_and_missing_peer_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    main(["probe:patches=64,width=8", "--rounds", "2", "--write", str(page)])
    text = page.read_text()
    assert text.startswith("Prose.\n\n<!-- probe -->\n\n### 3 epochs of the softmax probe, 64 x 8")
    assert text.endswith("<!-- end -->\n\nMore.\n")
    assert "not installed: pip install scikit-learn" in text
    assert "Medians of 2 interleaved rounds, wall time" in text
    assert "old" not in text
    assert "not installed" in capsys.readouterr().out


def test_table_of_another_machine_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    page = tmp_path / "page.md"
    page.write_text(PAGE.replace("probe", "gpu"))
    main(["gpu", "--write", str(page)])
    assert page.read_text() == PAGE.replace("probe", "gpu")


class Allocating(Stage):
    title, units = "", (1, "calls")

    def rows(self) -> list[Row]:
        def prepare() -> Call:
            torch.ones(2**20)  # loads pages of PyTorch's library, which must not count
            return lambda: torch.ones(2**26, dtype=torch.uint8)

        return [Row("64 MiB", prepare)]


@pytest.mark.xdist_group("server")
def test_peak_memory_is_the_memory_that_a_call_adds() -> None:
    # In a new process, as in the program: an older process may reuse memory that it freed.
    with ProcessPoolExecutor(1, SERVER) as processes:
        assert 60 < processes.submit(peak, Allocating(), "64 MiB").result() < 80


def test_ratio_is_not_claimed_for_noisy_measurements() -> None:
    row = Row("", prepare=lambda: lambda: None)
    first = Measurement(row, [1.0, 1.0, 1.0, 1.0])
    assert Measurement(row, [2.0, 2.1, 2.0, 2.1]).ratio(first) == "2.05 ± 2 %"
    assert Measurement(row, [2.0, 3.0, 2.0, 3.0]).ratio(first) == "not claimed, ± 20 %"
    few = Measurement(row, [1.0, 1.0])
    assert few.ratio(few) == "not claimed of fewer than 3 rounds"


def test_unknown_stage_is_refused() -> None:
    with pytest.raises(ConfigError, match="There is no stage named 'steps'"):
        main(["steps"])


@pytest.mark.parametrize(
    "spec", ["step:size=32,batch=4,width=8,steps=1", "objectives:rows=4,width=8"]
)
def test_stages_run_what_they_measure(spec: str) -> None:
    stage = build(spec, benchmarks, Stage)
    row = stage.rows()[0]
    assert peak(stage, row.name) >= 0
    assert row.figure is None or float(row.figure()) < 1e-5
