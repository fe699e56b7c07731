"""The smallest reproduction from end to end, and its failures."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from morefromless import reproduction
from morefromless.cli import run
from morefromless.evaluation.results import Results, Summary
from morefromless.experiments import experiment_names
from morefromless.report.content import ExperimentFile, read
from morefromless.runs import Run

Captured = pytest.CaptureFixture[str]

# Every experiment is run once for all tests.
pytestmark = [pytest.mark.timeout(900), pytest.mark.xdist_group("reproduce")]


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("reproduce")
    assert run(command(out, "all")) == 0
    return out


def command(out: Path, *more: str) -> list[str]:
    return ["reproduce", *more, "--scale", "smoke", "--out", str(out), "--jobs", "1"]


@pytest.fixture
def copy(smoke: Path, tmp_path: Path) -> Path:
    """A copy that a test can damage."""
    return Path(shutil.copytree(smoke, tmp_path / "reproduce"))


def experiment(out: Path, name: str) -> ExperimentFile:
    return read(out / "experiments" / f"{name}.json", ExperimentFile)


def cells(out: Path, name: str) -> dict[tuple[str, str], Summary]:
    """Row and column to the summary of each cell that was run."""
    file = experiment(out, name)
    results = {study: Results.load(out / folder) for study, folder in file.studies.items()}
    summaries = {}
    for cell in file.cells:
        if cell.study is not None:
            (summary,) = results[cell.study].select(lambda c, cell=cell: c == cell.condition)
            summaries[cell.row, cell.column] = summary
    return summaries


def test_every_experiment_has_its_numbers_and_figures(smoke: Path) -> None:
    assert {path.stem for path in (smoke / "experiments").glob("*.json")} == set(experiment_names())
    for name in ("table1", "table2", "table-s2", "table-s3"):
        file = experiment(smoke, name)
        assert any(cell.published and cell.study for cell in file.cells)
        assert all(cell.place for cell in file.cells if cell.published)
        for summary in cells(smoke, name).values():
            accuracy = summary.accuracy
            assert 0 <= accuracy.low <= accuracy.estimate <= accuracy.high <= 1
            assert accuracy.estimate == pytest.approx(np.mean(summary.accuracies))
    table1 = {(cell.row, cell.column): cell for cell in experiment(smoke, "table1").cells}
    assert table1["whole patch", "asymmetric, independent"].published == 0.8587
    assert table1["4 x 4 px", "asymmetric, independent"].published is None  # no counterpart
    assert table1["7 x 7 px", "supervised"].study is None  # not run
    assert len(cells(smoke, "few-labels")) == 5 * 4
    for name in ("fig2", "fig3", "fig-s4", "fig-s5"):
        pictures = experiment(smoke, name).pictures
        assert pictures
        for picture in pictures:
            for kind in ("svg", "pdf", "png", "csv"):
                assert (smoke / picture.path).with_suffix(f".{kind}").stat().st_size > 100


def test_shared_runs_give_the_same_numbers_everywhere(smoke: Path) -> None:
    """Table 1's sparsest arms are Table S3's VICReg and all labels of Few labels."""
    table1, s3, labels = (cells(smoke, name) for name in ("table1", "table-s3", "few-labels"))
    for sharing in ("independent", "shared"):
        accuracy = table1["4 x 4 px", f"asymmetric, {sharing}"].accuracy
        assert s3[f"vicreg, {sharing}", "down-sampled: asymmetric"].accuracy == accuracy
        assert labels["100% of labels", f"asymmetric, {sharing}"].accuracy == accuracy


def test_finished_runs_are_not_repeated(smoke: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in smoke.glob("runs/*/weights.safetensors")}
    accuracies = {key: s.accuracy for key, s in cells(smoke, "table-s3").items()}
    assert run(command(smoke, "table-s3")) == 0
    assert before == {p: p.stat().st_mtime_ns for p in smoke.glob("runs/*/weights.safetensors")}
    assert {key: s.accuracy for key, s in cells(smoke, "table-s3").items()} == accuracies
    assert set(json.loads((smoke / "plan.json").read_text())["experiments"]) == set(
        experiment_names()
    )


def test_plan_trains_nothing(tmp_path: Path, capsys: Captured) -> None:
    assert run([*command(tmp_path / "out", "table1"), "--plan"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "8 of 8 runs" in printed
    assert "GB of disk" in printed
    assert not (tmp_path / "out" / "runs").exists()
    assert not (tmp_path / "out" / "plan.json").exists()


def test_failed_run_stops_only_its_own_experiments(copy: Path, capsys: Captured) -> None:
    names = json.loads((copy / "plan.json").read_text())["experiments"]["fig-s4"]
    damaged_run = (
        copy / "runs" / next(name for name in names if name.startswith("asymmetric-shared"))
    )
    (damaged_run / "run.json").unlink()  # half deleted: its training data are unknown
    for name in ("fig-s4", "table-s3"):
        (copy / "experiments" / f"{name}.json").unlink()
    assert run(command(copy, "fig-s4", "table-s3")) == 2
    printed = capsys.readouterr()
    assert "has lost its run.json" in printed.err
    assert "fig-s4 waits for 1 of" in printed.out
    assert (copy / "experiments" / "table-s3.json").exists()
    assert not (copy / "experiments" / "fig-s4.json").exists()
    assert run(["status", str(copy)]) == 0
    assert f"{damaged_run.name} failed:" in " ".join(capsys.readouterr().out.split())
    shutil.rmtree(damaged_run)
    assert run(command(copy, "fig-s4")) == 0
    assert (copy / "experiments" / "fig-s4.json").exists()


def test_another_reproduction_in_the_same_folder_is_refused(copy: Path, capsys: Captured) -> None:
    def error_of(*more: str) -> str:
        assert run([*command(copy, "table1"), *more]) == 2
        return capsys.readouterr().err

    runs = sorted(path.name for path in copy.glob("runs/*"))
    assert "lr 0.001, not 0.01" in error_of("--lr", "0.01")
    assert "sides [4], not [8]" in error_of("--sides", "8")
    plan = json.loads((copy / "plan.json").read_text())
    (copy / "plan.json").write_text(json.dumps({**plan, "seeds": 2}))
    assert "with 2 seeds" in error_of()
    (copy / "plan.json").write_text(json.dumps(plan))
    shutil.rmtree(copy / "store")
    assert run(["ingest", "synthetic:patches=180,patients=12,size=32", str(copy / "store")]) == 0
    assert "contains a reproduction with data" in error_of("--store", str(copy / "store"))
    assert runs == sorted(path.name for path in copy.glob("runs/*"))  # nothing is overwritten
    for damaged in ("{", "[]", json.dumps({**plan, "seeds": "two"})):
        (copy / "plan.json").write_text(damaged)
        assert "plan.json is damaged" in error_of("--store", str(copy / "store"))


def test_full_disk_is_reported_before_training(
    copy: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(next(copy.glob("runs/supervised-full*")))
    usage = shutil.disk_usage(copy)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage._replace(free=1000))
    assert run(command(copy, "table1")) == 2
    assert "GB left; free some space" in capsys.readouterr().err


def test_cluster_gets_only_unfinished_runs(
    copy: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(next(copy.glob("runs/supervised-full*")))
    (copy / "experiments" / "table1.json").unlink()
    (copy / "experiments" / "few-labels.json").unlink()
    calls: list[Any] = []

    def submit(configs: Any, folder: Path, options: Any) -> list[Any]:
        calls.append(([c for c in configs if not Run(c.out).done], folder, options))
        return calls[0][0]

    monkeypatch.setattr(reproduction, "submit", submit)
    words = ["--cluster", "slurm", "--partition", "gpu", "--minutes", "99"]
    assert run([*command(copy, "table1", "few-labels"), *words]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    ((submitted, folder, options),) = calls
    assert len(submitted) == 1
    assert folder == copy
    assert (options.cluster, options.partition, options.minutes) == ("slurm", "gpu", 99)
    assert "Submitted 1 job;" in printed
    assert "table1 waits for 1 of 8 runs" in printed
    assert (copy / "experiments" / "few-labels.json").exists()


def test_status_of_a_comparison_and_of_an_empty_folder(
    smoke: Path, tmp_path: Path, capsys: Captured
) -> None:
    (tmp_path / "compare").mkdir()
    (tmp_path / "compare" / "runs").symlink_to(smoke / "runs")
    assert run(["status", str(tmp_path / "compare")]) == 0
    assert "compare" in capsys.readouterr().out
    (tmp_path / "empty").mkdir()
    assert run(["status", str(tmp_path / "empty")]) == 2
    assert "holds no runs" in capsys.readouterr().err


def test_damaged_files_are_recomputed_or_reported(copy: Path, capsys: Captured) -> None:
    accuracies = {key: s.accuracy for key, s in cells(copy, "table-s3").items()}
    derived = [
        *copy.glob("runs/*/predictions-*"),
        *copy.glob("runs/*/probe-*"),
        *copy.glob("runs/*/features/*"),
    ]
    assert len(derived) > 20
    for path in derived:
        path.write_bytes(b"")
    assert run(command(copy, "table-s3")) == 0
    assert {key: s.accuracy for key, s in cells(copy, "table-s3").items()} == accuracies

    for path in copy.glob("runs/supervised-downsample*"):
        (path / "weights.safetensors").write_bytes(b"damaged" * 9)
    (copy / "experiments" / "table2.json").unlink()
    capsys.readouterr()
    assert run(command(copy, "table1", "table2")) == 2
    printed = capsys.readouterr()
    assert "table1 has no results" in printed.out
    assert "weights.safetensors is damaged" in printed.err.splitlines()[-1]
    assert cells(copy, "table2")  # table1's failure does not affect table2
