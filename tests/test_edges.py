"""Unusual files, folders and streams give an error of one sentence."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from morefromless import cli
from morefromless.data.store import Store

MAIN = "from morefromless.cli import main; main()"

# Commands, in which {} is the unusual path.
COMMANDS = [
    "train --config {}.yaml",
    "ingest {}.npz new",
    "ingest {}.csv new",
    "ingest {}.zip new",
    "ingest {} new",
    "ingest consep:{} new",
    "ingest spatial:{},test=a new",
    "ingest synthetic new --nuclei STORE --scheme {}.yaml",
    "ingest STORE new --unlabelled --nuclei {}",
    "tile {}.svs new",
    "tile {}.tif new",
    "views {}",
    "train {} --out new",
    "train STORE --out new --encoder test_resnet:weights={}.safetensors --size 16",
    "train STORE --out new --encoder test_resnet:weights={}.pt --size 16",
    "probe {}",
    "embed {} STORE --to new.npz",
    "embed {}.safetensors STORE --to new.npz",
    "export {} new",
    "app {}",
    "app {}.safetensors",
    "export-nuclei {} new",
    "explain {} {}",
    "represent {}",
    "validate {} STORE",
    "headroom {}",
    "hold-out {} new",
    "publish {} new",
    "stream {} new",
    "reproduce table1 --store {}",
    "status {}",
    "report {}",
    "fetch crc-val-he-7k new --local {}",
]
UNUSUAL_PATHS: dict[str, Callable[[Path], object]] = {
    "pipe": os.mkfifo,
    "folder": Path.mkdir,
    "nothing": Path.exists,
    "empty file": Path.touch,
    "name too long": str,
}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", UNUSUAL_PATHS)
def test_unusual_input_paths_are_refused(
    kind: str,
    tissue: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for number, command in enumerate(COMMANDS):
        folder = tmp_path / str(number)
        folder.mkdir()
        monkeypatch.chdir(folder)
        name = "x" * 300 if kind == "name too long" else "odd"
        words = command.replace("STORE", str(tissue.path)).format(name, name).split()
        suffix = command.partition("{}")[2].split(" ")[0]
        UNUSUAL_PATHS[kind](folder / f"{name}{suffix if suffix.startswith('.') else ''}")
        assert cli.run(words) == 2, command
        (message,) = (line for line in capsys.readouterr().err.splitlines() if "mfl " in line)
        assert message.endswith((".", "?")), message
        assert not list((folder / "new").glob("*")), command


@pytest.mark.parametrize(
    "command",
    [
        "ingest synthetic:patches=90,size=16 {}",
        "views STORE --out {}.png --size 16 --primary downsample:2 --draws 1 --patches 1",
        "views STORE --out {}/a.png --size 16 --primary downsample:2 --draws 1 --patches 1",
        "export-nuclei STORE {}",
        "headroom STORE --out {}",
        "hold-out STORE {}",
        "publish STORE {}",
    ],
)
def test_unusual_output_paths_are_refused(
    command: str,
    tissue: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    command = command.replace("STORE", str(tissue.path))
    obstacle = Path("odd.png" if "{}.png" in command else "odd")
    if obstacle.suffix:
        obstacle.mkdir()
    else:
        obstacle.touch()
    for name in (obstacle.stem, "x" * 300):
        assert cli.run(command.format(name).split()) == 2
        error = capsys.readouterr().err
        assert any(
            word in error
            for word in ("too long", "is a file", "exists where", "exists already", "remove")
        )
    assert list(Path().iterdir()) == [obstacle]


@pytest.mark.parametrize(
    "command",
    [
        "compare STORE",
        "explain a b",
        "represent a",
        "validate a STORE",
        "headroom STORE",
        "reproduce table1 --store STORE",
        "demo",
    ],
)
def test_existing_folders_are_not_overwritten(
    command: str, tissue: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = command.replace("STORE", str(tissue.path)).split()
    before = {path: path.stat().st_mtime_ns for path in tissue.path.rglob("*")}
    assert cli.run([*words, "--out", str(tissue.path)]) == 2
    assert "is a store; look at it with mfl views" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in tissue.path.rglob("*")} == before
    (tmp_path / "index.html").write_text("<html>A page of mine.</html>")
    assert cli.run([*words, "--out", str(tmp_path)]) == 2
    assert "is not a page of morefromless" in capsys.readouterr().err


def test_removed_working_directory_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gone").mkdir()
    os.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert cli.run(["status", "."]) == 2
    assert "was removed; change to another one" in capsys.readouterr().err


@pytest.mark.parametrize("closed", ["2>&-", ">&-", "<&- >&- 2>&-"])
def test_closed_streams_cause_no_traceback(closed: str) -> None:
    command = ["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-c", MAIN, "fetch", "none"]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 2
    assert "Traceback" not in process.stderr
    if closed == ">&-":
        assert process.stderr.startswith("mfl fetch: There is no public data set named 'none'")


@pytest.mark.parametrize("words", [["fetch"], ["compare", "--help"]], ids=" ".join)
@pytest.mark.parametrize("place", ["closed", "/dev/full"])
def test_closed_pipe_and_full_disk_cause_no_traceback(words: list[str], place: str) -> None:
    command = [sys.executable, "-c", MAIN, *words]
    with open(place if place != "closed" else os.devnull, "w") as file:
        process = subprocess.Popen(
            command,
            stdout=file if place != "closed" else subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        if process.stdout:
            process.stdout.close()
        assert process.stderr
        error = process.stderr.read()
    assert process.wait() == (141 if place == "closed" else 2)
    assert "Traceback" not in error
    assert "Exception ignored" not in error
    assert ("no space left on device" in error) == (place != "closed")


def test_notebook_backend_of_matplotlib_is_not_needed() -> None:
    code = "from morefromless import cli; cli.run(['--version']); from matplotlib import pyplot"
    environment = {**os.environ, "MPLBACKEND": "module://matplotlib_inline.absent"}
    command = [sys.executable, "-c", f"{code}; pyplot.figure()"]
    subprocess.run(command, env=environment, check=True, capture_output=True)
