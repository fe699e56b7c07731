"""Killed at any moment, an ingest goes on where it was and ends the same."""

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import morefromless.ingest
from morefromless.data.store import Store
from morefromless.errors import DataError
from morefromless.ingest import ingest
from morefromless.ingest.decoding import SAMPLE
from morefromless.sources import Source
from tests.ingest.made import Counting, contents

BATCH = 8
WORKERS = 2


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(morefromless.ingest, "BATCH", BATCH)


def in_child(work: Callable[[], object]) -> int:
    """Run `work` in a process of its own and return its id."""
    child = os.fork()
    if child:
        return child
    try:
        work()
        os._exit(0)
    finally:
        os._exit(1)


def run(source: Source, destination: Path, **options: Any) -> None:
    ingest(source, destination, workers=WORKERS, progress=False, **options)


DURABLE = ("pwrite", "fsync", "fdatasync", "replace", "rename", "ftruncate", "rmdir", "unlink")


def killed_at(step: int, source: Source, destination: Path, **options: Any) -> int:
    """The status of a process that is killed just before its `step`-th change to the disk."""

    def work() -> None:
        steps = 0

        def counted(call: Callable[..., Any]) -> Callable[..., Any]:
            def wrapped(*given: Any, **named: Any) -> Any:
                nonlocal steps
                steps += 1
                if steps == step:
                    os.kill(os.getpid(), signal.SIGKILL)
                return call(*given, **named)

            return wrapped

        for name in DURABLE:
            setattr(os, name, counted(getattr(os, name)))
        run(source, destination, **options)

    return os.waitpid(in_child(work), 0)[1]


def test_killed_before_each_change_to_the_disk_in_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("fsync", "fdatasync"):  # a killed process loses nothing that it has written
        monkeypatch.setattr(os, name, lambda *_: None)
    whole = Counting(tmp_path / "whole.log", 14)
    run(whole, tmp_path / "whole")
    expected = contents(tmp_path / "whole")

    finished = False
    step = 0
    while not finished:
        step += 1
        destination = tmp_path / f"killed-{step}"
        source = Counting(tmp_path / f"{step}.log", 14)
        status = killed_at(step, source, destination)
        finished = os.WIFEXITED(status)
        assert finished or os.WTERMSIG(status) == signal.SIGKILL
        if destination.exists():  # nothing half-written ever stands there
            assert contents(destination) == expected
        run(source, destination)
        assert contents(destination) == expected
        assert not destination.with_name(f"{destination.name}.partial").exists()
    assert step > 14  # at least one write per row was tried


def test_killed_at_random_moments_until_done(tmp_path: Path) -> None:
    count = 300

    class Slow(Counting):
        def read(self, item: Any) -> Any:
            time.sleep(0.001)
            return super().read(item)

    whole = Counting(tmp_path / "whole.log", count)
    run(whole, tmp_path / "whole")

    source, destination = Slow(tmp_path / "killed.log", count), tmp_path / "killed"
    source.log.touch()
    rng = random.Random(0)
    kills = 0
    for _ in range(5):
        child = in_child(lambda: run(source, destination))
        enough = len(source.readings()) + rng.randrange(20, 60)
        while len(source.readings()) < enough and os.waitpid(child, os.WNOHANG) == (0, 0):
            time.sleep(0.001)
        os.kill(child, signal.SIGKILL)
        kills += os.WIFSIGNALED(os.waitpid(child, 0)[1])
        assert not destination.exists()
    assert kills == 5
    run(source, destination)
    assert contents(destination) == contents(tmp_path / "whole")
    # A kill costs the batch that was not yet in the journal, what waited to be written, and, the
    # first time, the sample.
    assert len(source.readings()) <= count + SAMPLE + kills * (BATCH + 4 * WORKERS + WORKERS)
    assert set(source.readings()) == set(range(count))


def test_uninterrupted_each_item_is_read_once(tmp_path: Path) -> None:
    source = Counting(tmp_path / "log", 300)
    run(source, tmp_path / "store")
    assert sorted(source.readings()) == list(range(300))
    run(source, tmp_path / "store")  # done: nothing is read again
    assert len(source.readings()) == 300


def interrupted(source: Counting, destination: Path) -> None:
    """Leave an unfinished ingest behind."""
    status = killed_at(40, source, destination)
    assert os.WIFSIGNALED(status)
    assert destination.with_name(f"{destination.name}.partial").is_dir()


def test_another_source_or_size_does_not_go_on(tmp_path: Path) -> None:
    source, destination = Counting(tmp_path / "log", 60), tmp_path / "store"
    interrupted(source, destination)
    with pytest.raises(DataError, match=r"the source listed 60 patches, not 50.*remove"):
        ingest(Counting(tmp_path / "log", 50), destination, progress=False)
    with pytest.raises(DataError, match=r"--resize was not given, not 4.*remove"):
        ingest(source, destination, resize=4, progress=False)
    run(source, destination)  # neither mistake cost anything
    assert len(Store.open(destination).table)


def test_the_split_may_change_while_unfinished(tmp_path: Path) -> None:
    source, destination = Counting(tmp_path / "log", 60), tmp_path / "store"
    interrupted(source, destination)
    before = len(source.readings())
    ingest(source, destination, test_share=0.5, progress=False)
    assert len(source.readings()) - before < 60
    store = Store.open(destination)
    assert abs(len(store.indices("test")) / len(store.table) - 0.5) < 0.1


def test_a_line_torn_by_the_kill_is_cut_off(tmp_path: Path) -> None:
    source, destination = Counting(tmp_path / "log", 60), tmp_path / "store"
    run(Counting(tmp_path / "whole.log", 60), tmp_path / "whole")
    interrupted(source, destination)
    journal = tmp_path / "store.partial" / "journal.jsonl"
    with journal.open("ab") as file:
        file.write(b'{"index": 59, "hash": "00')
    run(source, destination)
    assert contents(destination) == contents(tmp_path / "whole")


def test_lost_rows_are_noticed(tmp_path: Path) -> None:
    source, destination = Counting(tmp_path / "log", 60), tmp_path / "store"
    interrupted(source, destination)
    (tmp_path / "store.partial" / "he.rows").unlink()
    with pytest.raises(DataError, match=r"lacks he\.rows; remove"):
        run(source, destination)


def test_two_processes_do_not_write_to_one_place(tmp_path: Path) -> None:
    class Waiting(Counting):
        def read(self, item: Any) -> Any:
            time.sleep(0.2)
            return super().read(item)

    destination = tmp_path / "store"
    child = in_child(lambda: run(Waiting(tmp_path / "first.log", 60), destination))
    while not (tmp_path / "store.partial" / "journal.jsonl").exists():
        time.sleep(0.002)
    time.sleep(0.02)
    with pytest.raises(DataError, match="Another process"):
        run(Counting(tmp_path / "second.log", 60), destination)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    run(Counting(tmp_path / "second.log", 60), destination)


def test_somebody_elses_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "store.partial").mkdir()
    (tmp_path / "store.partial" / "precious.txt").touch()
    with pytest.raises(DataError, match="in the way"):
        run(Counting(tmp_path / "log", 60), tmp_path / "store")
    assert (tmp_path / "store.partial" / "precious.txt").exists()
