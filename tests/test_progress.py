"""Progress: a bar in a terminal, lines in a log, objects for a program, or nothing."""

import errno
import io
import json
import shutil
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from morefromless import cli, progress
from morefromless.config import RunConfig
from morefromless.progress import Bar, Mode
from morefromless.training import progress as training_progress
from morefromless.training.train import train
from tests.conftest import changed


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def no_progress_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(progress.MODE_VARIABLE, raising=False)


def progress_output(
    monkeypatch: pytest.MonkeyPatch, mode: Mode | None = None, stream: Any = None, every: float = 0
) -> str:
    """Run two nested loops and return what they write to standard error."""
    stream = stream or io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(progress, "MINUTE", every)
    with progress.use_mode(mode):
        for _ in Bar(range(2), desc="outer", unit="run", mininterval=0, file=stream):
            for _ in Bar(range(3), desc="inner", unit="batch", mininterval=0, file=stream):
                pass
    return str(stream.getvalue())


def test_terminal_shows_one_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    text = progress_output(monkeypatch, stream=Terminal())
    assert "outer" in text
    assert "\r" in text
    assert "inner" not in text
    assert "\x1b[A" not in text  # no bar on a second line


def test_dumb_terminal_shows_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    text = progress_output(monkeypatch, stream=Terminal())
    assert "outer: 1 of 2 run" in text
    assert not set("\r\x1b█|%") & set(text)


def test_empty_loop_shows_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    assert list(Bar([], desc="none", file=stream)) == []
    assert "none" not in stream.getvalue()


def test_log_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    text = progress_output(monkeypatch)
    assert "outer: 1 of 2 run" in text
    assert "inner: 2 of 3 batch" in text
    assert not set("\r\x1b█|%") & set(text)
    assert progress_output(monkeypatch, every=60) == ""  # shorter than a minute


def test_json_mode_writes_one_object_per_line(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = progress_output(monkeypatch, "json").splitlines()
    assert {json.loads(line)["task"] for line in lines} == {"outer", "inner"}


def test_time_left_ignores_work_done_before(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "MINUTE", 0)
    with progress.use_mode("json"), Bar(total=40, initial=30, desc="runs", unit="runs") as bar:
        bar.start_t -= 10  # ten seconds for five of them
        for name in "abcde":
            bar.finish(name)
    assert json.loads(capsys.readouterr().err.splitlines()[-1])["seconds_left"] == 10


def test_quiet_mode_writes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert progress_output(monkeypatch, "quiet") == ""
    assert progress_output(monkeypatch, "quiet", Terminal()) == ""


@pytest.mark.parametrize("before", [True, False])
def test_progress_options_work_before_or_after_the_command(
    before: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(progress, "MINUTE", 0)
    command = ["ingest", "synthetic:patches=60,size=16", str(tmp_path / "store"), "--workers", "1"]
    for option in ("--quiet", "--json"):
        assert cli.run([option, *command] if before else [*command, option]) == 0
        lines = capsys.readouterr().err.splitlines()
        tasks = {json.loads(line)["task"] for line in lines if line.startswith("{")}
        assert bool(tasks) == (option == "--json")
        assert not any("\r" in line or "\x1b" in line for line in lines)
        shutil.rmtree(tmp_path / "store")


def test_bars_need_no_semaphore() -> None:
    assert isinstance(Bar.get_lock(), type(threading.RLock()))  # type: ignore[no-untyped-call]


def test_full_disk_of_the_log_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.StringIO):
        def write(self, _: str) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    assert progress_output(monkeypatch, stream=Full()) == ""
    progress.warn("A sentence.")


def test_training_logs_loss_terms_rate_and_time(
    pretraining: RunConfig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(training_progress, "EPOCH_LOG_SECONDS", 0.0)
    with progress.use_mode("json"):
        run = train(changed(pretraining, epochs=2))
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    assert lines[-1]["done"] == lines[-1]["total"] == run.record.facts["steps"]
    assert lines[-1]["task"] == run.path.name
    assert {"loss", "lr", "steps_per_second", "seconds_left"} <= set(lines[0])
    assert any("variance" in name for name in lines[0])


def test_bar_sums_progress_of_parallel_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    with Bar(total=2, desc="runs", unit="runs", file=stream) as bar:
        bar.update_task("a", 0.5, "loss 1")
        bar.update_task("b", 0.25, "loss 2")
        assert bar.n == 0.75
        bar.finish("a")
        assert bar.n == 1.25
    assert "loss 2" in stream.getvalue()
