"""The smallest reproduction from end to end, and what may go wrong with one."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from morefromless.comparison import cluster

from morefromless.cli import run
from morefromless.experiments import known
from morefromless.reproduction import energy

Captured = pytest.CaptureFixture[str]

# Every experiment is carried out once, for all tests.
pytestmark = [pytest.mark.timeout(900), pytest.mark.xdist_group("reproduce")]


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("reproduce")
    assert run(["reproduce", "all", "--scale", "smoke", "--out", str(out), "--jobs", "1"]) == 0
    return out


def command(out: Path, *more: str) -> list[str]:
    return ["reproduce", *more, "--scale", "smoke", "--out", str(out), "--jobs", "1"]


@pytest.fixture
def copy(smoke: Path, tmp_path: Path) -> Path:
    """The same, to be damaged."""
    return Path(shutil.copytree(smoke, tmp_path / "reproduce"))


def told(out: Path, name: str) -> dict[str, Any]:
    made: dict[str, Any] = json.loads((out / "experiments" / f"{name}.json").read_text())
    return made


def test_every_experiment_has_its_numbers_and_figures(smoke: Path) -> None:
    assert {path.stem for path in (smoke / "experiments").glob("*.json")} == set(known())
    for name in ("table1", "table2", "table-s2", "table-s3"):
        numbers = told(smoke, name)["numbers"]
        assert any(n["published"] for n in numbers)
        assert all(n["place"] for n in numbers if n["published"])
        for n in numbers:
            assert 0 <= n["ours"]["low"] <= n["ours"]["estimate"] <= n["ours"]["high"] <= 1
            assert n["ours"]["estimate"] == pytest.approx(sum(n["seeds"]) / len(n["seeds"]))
    table1 = {(n["row"], n["column"]): n for n in told(smoke, "table1")["numbers"]}
    assert table1["whole patch", "asymmetric, independent"]["published"] == 0.8587
    assert table1["4 x 4 px", "asymmetric, independent"]["published"] is None  # no counterpart
    assert len(told(smoke, "few-labels")["numbers"]) == 5 * 4
    for name in ("fig2", "fig3", "fig-s4", "fig-s5"):
        for look in told(smoke, name)["looks"]:
            assert look["figures"]
            for figure in look["figures"]:
                for kind in ("svg", "pdf", "png", "csv"):
                    assert (smoke / figure).with_suffix(f".{kind}").stat().st_size > 100


def test_shared_runs_are_the_same_numbers_everywhere(smoke: Path) -> None:
    """Table 1's sparsest arms are Table S3's VICReg and all labels of Few labels."""
    one = {
        n["column"]: n["ours"] for n in told(smoke, "table1")["numbers"] if n["row"] == "4 x 4 px"
    }
    s3 = {
        n["row"]: n["ours"]
        for n in told(smoke, "table-s3")["numbers"]
        if n["column"] == "down-sampled: asymmetric"
    }
    all_labels = {
        n["column"]: n["ours"]
        for n in told(smoke, "few-labels")["numbers"]
        if n["row"] == "100% of labels"
    }
    for sharing in ("independent", "shared"):
        found = one[f"asymmetric, {sharing}"]
        assert s3[f"vicreg, {sharing}"] == found
        assert all_labels[f"asymmetric, {sharing}"] == found


def test_what_is_done_is_not_done_again(smoke: Path, capsys: Captured) -> None:
    before = {path: path.stat().st_mtime_ns for path in smoke.glob("runs/*/weights.safetensors")}
    numbers = told(smoke, "table-s3")["numbers"]
    assert run(command(smoke, "table-s3")) == 0
    assert "All " in capsys.readouterr().out
    assert before == {p: p.stat().st_mtime_ns for p in smoke.glob("runs/*/weights.safetensors")}
    assert told(smoke, "table-s3")["numbers"] == numbers
    assert set(json.loads((smoke / "plan.json").read_text())["experiments"]) == set(known())


def test_a_plan_trains_nothing(tmp_path: Path, capsys: Captured) -> None:
    assert run([*command(tmp_path / "out", "table1"), "--plan"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "8 of 8 runs are to be trained, 48 steps" in said
    assert "GB of disk" in said
    assert "Give more --epochs" in said
    assert not (tmp_path / "out" / "runs").exists()
    assert not (tmp_path / "out" / "plan.json").exists()


def test_a_run_that_fails_stops_its_own_experiments_only(copy: Path, capsys: Captured) -> None:
    lost = next(path for path in copy.glob("runs/asymmetric-shared-nuclei*"))
    (lost / "run.json").unlink()  # half deleted: what it was trained on is not known
    for name in ("fig-s4", "table-s3"):
        (copy / "experiments" / f"{name}.json").unlink()
    assert run(command(copy, "fig-s4", "table-s3")) == 2
    printed = capsys.readouterr()
    assert "1 of " in printed.err
    assert "has lost its run.json" in printed.err
    assert "fig-s4 waits for 1 of" in printed.out
    assert (copy / "experiments" / "table-s3.json").exists()
    assert not (copy / "experiments" / "fig-s4.json").exists()
    assert run(["status", str(copy)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"{lost.name} failed:" in said
    assert "has lost its run.json" in said
    shutil.rmtree(lost)
    assert run(command(copy, "fig-s4")) == 0
    assert (copy / "experiments" / "fig-s4.json").exists()


def test_another_reproduction_in_the_same_folder_is_refused(copy: Path, capsys: Captured) -> None:
    runs = sorted(path.name for path in copy.glob("runs/*"))
    assert run([*command(copy, "table1"), "--lr", "0.01"]) == 2
    assert "holds a reproduction with lr 0.001, not 0.01" in capsys.readouterr().err
    assert run([*command(copy, "table1"), "--sides", "8"]) == 2
    assert "holds a reproduction with sides [4], not [8]" in capsys.readouterr().err
    plan = json.loads((copy / "plan.json").read_text())
    (copy / "plan.json").write_text(json.dumps({**plan, "seeds": 2}))
    assert run(command(copy, "table1")) == 2
    assert "with 2 seeds, whose tables 1 would overwrite" in capsys.readouterr().err
    (copy / "plan.json").write_text(json.dumps(plan))
    shutil.rmtree(copy / "store")
    assert run(["ingest", "synthetic:patches=180,patients=12,size=32", str(copy / "store")]) == 0
    capsys.readouterr()
    words = ["--scale", "smoke", "--store", str(copy / "store"), "--out", str(copy)]
    assert run(["reproduce", "table1", *words]) == 2
    assert "holds a reproduction with data" in capsys.readouterr().err
    assert runs == sorted(path.name for path in copy.glob("runs/*"))  # nothing is overwritten
    (copy / "plan.json").write_text("{")
    assert run(["reproduce", "table1", *words]) == 2
    assert "plan.json is damaged" in capsys.readouterr().err


def test_a_disk_without_room_is_said_before_anything_starts(
    copy: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(next(copy.glob("runs/supervised-full*")))
    usage = shutil.disk_usage(copy)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage._replace(free=1000))
    assert run(command(copy, "table1")) == 2
    assert "GB left; free some space" in capsys.readouterr().err


def test_a_cluster_gets_what_is_not_done(
    copy: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(next(copy.glob("runs/supervised-full*")))
    (copy / "experiments" / "table1.json").unlink()
    (copy / "experiments" / "few-labels.json").unlink()
    asked: list[Any] = []

    def submit(planned: Any, folder: Path, options: Any) -> list[Any]:
        asked.append(([one for one in planned if not one.run.done], folder, options))
        return asked[0][0]

    monkeypatch.setattr(cluster, "submit", submit)
    words = ["--cluster", "slurm", "--partition", "gpu", "--minutes", "99"]
    assert run([*command(copy, "table1", "few-labels"), *words]) == 0
    said = capsys.readouterr().out
    ((waiting, folder, options),) = asked
    assert len(waiting) == 1
    assert folder == copy
    assert (options.kind, options.partition, options.minutes) == ("slurm", "gpu", 99)
    assert "1 jobs were submitted" in said
    assert "table1 waits for 1 of 8 runs" in " ".join(said.split())
    assert (copy / "experiments" / "few-labels.json").exists()


def test_status_of_a_comparison_and_of_nothing(
    smoke: Path, tmp_path: Path, capsys: Captured
) -> None:
    (tmp_path / "compare").mkdir()
    (tmp_path / "compare" / "runs").symlink_to(smoke / "runs")
    assert run(["status", str(tmp_path / "compare")]) == 0
    assert "compare" in capsys.readouterr().out
    assert run(["status", str(tmp_path)]) == 2
    assert "holds no runs" in capsys.readouterr().err


def test_energy_is_told_where_the_machine_tells_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(energy, "_gpus", dict)
    monkeypatch.setattr(energy, "RAPL", tmp_path / "rapl")
    with energy.metered(tmp_path / "none.jsonl"):
        pass
    assert not (tmp_path / "none.jsonl").exists()
    package, part = (tmp_path / "rapl" / name for name in ("intel-rapl:0", "intel-rapl:0:0"))
    for folder in (package, part):
        folder.mkdir(parents=True)
        (folder / "max_energy_range_uj").write_text("10000000")
        (folder / "energy_uj").write_text("9000000")
    with energy.metered(tmp_path / "used.jsonl"):
        (package / "energy_uj").write_text("2500000")  # it began anew at ten joules
    line = json.loads((tmp_path / "used.jsonl").read_text())
    assert line["joules"] == {"intel-rapl:0": 3.5}  # of the package, not of its part again


def test_what_is_damaged_is_made_again_or_told(copy: Path, capsys: Captured) -> None:
    numbers = told(copy, "table-s3")["numbers"]
    scores, features = [*copy.glob("runs/*/scores-*.json")], [*copy.glob("runs/*/features/*.npy")]
    assert scores
    assert features
    for path in (*scores, *features):
        path.write_bytes(b"")
    assert run(command(copy, "table-s3")) == 0
    assert told(copy, "table-s3")["numbers"] == numbers

    for path in copy.glob("runs/supervised-downsample*"):
        (path / "weights.safetensors").write_bytes(b"damaged" * 9)
        for scored in path.glob("scores-*.json"):
            scored.unlink()
    (copy / "experiments" / "table2.json").unlink()
    capsys.readouterr()
    assert run(command(copy, "table1", "table2")) != 0
    captured = capsys.readouterr()
    assert "table1 cannot be concluded" in captured.out
    assert "weights.safetensors is damaged" in captured.err.splitlines()[-1]
    assert told(copy, "table2")["numbers"]  # one does not keep the other from it
    assert run([*command(copy, "table1"), "--cluster", "local"]) != 0  # which submits nothing
    assert "weights.safetensors is damaged" in capsys.readouterr().err.splitlines()[-1]
