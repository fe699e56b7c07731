"""An ingest that is killed at any moment resumes and gives the same store."""

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from morefromless.data.store import Store
from morefromless.errors import DataError
from morefromless.ingest import decoding, ingest, shards
from morefromless.ingest.decoding import BATCH, SAMPLE
from morefromless.sources import Source
from morefromless.sources.folder import Folder
from tests.ingest.samples import Counting, contents, folder, patch, two_classes
from tests.processes import child, exit_status, start_process, until

SHARD = 8
WORKERS = 2


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "MAX_ITEMS", SHARD)
    monkeypatch.setattr(decoding, "PENDING_BATCHES", WORKERS)


def run(source: Source, destination: Path, **options: Any) -> None:
    ingest(source, destination, workers=WORKERS, progress=False, **options)


DURABLE = ("pwrite", "fsync", "fdatasync", "replace", "rename", "ftruncate", "rmdir", "unlink")


def kill_at_step(step: int, source: Source, destination: Path, **options: Any) -> int:
    """The exit status of a process that is killed just before its `step`-th change to the disk."""

    def work() -> None:
        steps = 0

        def with_kill(call: Callable[..., Any]) -> Callable[..., Any]:
            def wrapped(*args: Any, **kwargs: Any) -> Any:
                nonlocal steps
                steps += 1
                if steps == step:
                    os.kill(os.getpid(), signal.SIGKILL)
                return call(*args, **kwargs)

            return wrapped

        for name in DURABLE:
            setattr(os, name, with_kill(getattr(os, name)))
        run(source, destination, **options)

    return exit_status(work)


def test_ingest_resumes_after_a_kill_at_any_disk_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("fsync", "fdatasync"):  # a killed process loses nothing that it has written
        monkeypatch.setattr(os, name, lambda *_: None)
    uninterrupted = Counting(tmp_path / "whole.log", 10)
    run(uninterrupted, tmp_path / "whole")
    expected = contents(tmp_path / "whole")

    finished = False
    step = 0
    while not finished:
        step += 1
        destination = tmp_path / f"killed-{step}"
        source = Counting(tmp_path / f"{step}.log", 10)
        status = kill_at_step(step, source, destination)
        finished = os.WIFEXITED(status)
        assert finished or os.WTERMSIG(status) == signal.SIGKILL
        if destination.exists():  # the destination is never half-written
            assert contents(destination) == expected
        run(source, destination)
        assert contents(destination) == expected
        assert not destination.with_name(f"{destination.name}.partial").exists()
    assert step > 10  # at least one write per row was tried


def test_ingest_resumes_after_kills_at_random_times(tmp_path: Path) -> None:
    count = 300

    class Slow(Counting):
        def read(self, item: Any) -> Any:
            time.sleep(0.001)
            return super().read(item)

    uninterrupted = Counting(tmp_path / "whole.log", count)
    run(uninterrupted, tmp_path / "whole")

    source, destination = Slow(tmp_path / "killed.log", count), tmp_path / "killed"
    source.log.touch()
    rng = random.Random(0)
    kills = 0
    for _ in range(10):
        process = start_process(lambda: run(source, destination))
        target = len(source.readings()) + rng.randrange(20, 45)
        while len(source.readings()) < target and os.waitpid(process, os.WNOHANG) == (0, 0):
            time.sleep(0.001)
        os.kill(process, signal.SIGKILL)
        kills += os.WIFSIGNALED(os.waitpid(process, 0)[1])
        assert not destination.exists()
    assert kills == 10
    run(source, destination)
    assert contents(destination) == contents(tmp_path / "whole")
    # A kill repeats the unfinished shard, its prefetched items and, the first time, the sample.
    assert len(source.readings()) <= count + SAMPLE + kills * (SHARD + BATCH * WORKERS)
    assert set(source.readings()) == set(range(count))


def test_uninterrupted_ingest_reads_every_item_once(tmp_path: Path) -> None:
    source = Counting(tmp_path / "log", 300)
    run(source, tmp_path / "store")
    assert sorted(source.readings()) == list(range(300))
    run(source, tmp_path / "store")  # done: nothing is read again
    assert len(source.readings()) == 300


def leave_unfinished(source: Counting, destination: Path) -> None:
    """Leave an unfinished ingest behind."""
    status = kill_at_step(60, source, destination)
    assert os.WIFSIGNALED(status)
    assert destination.with_name(f"{destination.name}.partial").is_dir()


def test_another_source_or_size_is_not_resumed(tmp_path: Path) -> None:
    source, destination = Counting(tmp_path / "log", 60), tmp_path / "store"
    leave_unfinished(source, destination)
    with pytest.raises(DataError, match=r"the source listed 60 patches, not 50.*remove"):
        ingest(Counting(tmp_path / "log", 50), destination, progress=False)
    with pytest.raises(DataError, match=r"--resize was not given, now 4.*remove"):
        ingest(source, destination, resize=4, progress=False)
    run(source, destination)  # the refused calls changed nothing
    assert len(Store.open(destination).table)


def test_changed_source_file_is_not_resumed(tmp_path: Path) -> None:
    root, destination = two_classes(tmp_path / "in", 60), tmp_path / "store"
    assert os.WIFSIGNALED(kill_at_step(60, Folder(str(root)), destination))
    assert list((tmp_path / "store.partial" / "shards").iterdir())
    os.utime(root / "A" / "000.png", (0, 0))
    with pytest.raises(DataError, match=r"the source listed other patches.*remove"):
        run(Folder(str(root)), destination)


def test_split_options_may_change_before_resuming(tmp_path: Path) -> None:
    source, destination = Counting(tmp_path / "log", 60), tmp_path / "store"
    leave_unfinished(source, destination)
    before = len(source.readings())
    ingest(source, destination, test_share=0.5, progress=False)
    assert len(source.readings()) - before < 60
    store = Store.open(destination)
    assert abs(len(store.indices("test")) / len(store.table) - 0.5) < 0.1


def test_arrays_are_decoded_again_after_a_split_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = [f"{split}/{label}" for split in ("train", "val", "test") for label in "AB"]
    seeds = {f"{cell}/{i}.png": 9 * n + i for n, cell in enumerate(cells) for i in (0, 1)}
    seeds["train/A/leak.png"] = seeds["val/A/0.png"]  # which one is accepted depends on the split
    source, destination = Folder(str(folder(tmp_path / "in", seeds))), tmp_path / "store"

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(os, "ftruncate", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(source, destination)
    run(source, destination, split="random")
    store = Store.open(destination)
    assert len(store.table) == 12
    for pixels, name in zip(store.main, store.table["id"], strict=True):
        np.testing.assert_array_equal(pixels, patch(seeds[name]))


def test_partial_files_of_killed_writers_are_removed(tmp_path: Path) -> None:
    source, destination = Counting(tmp_path / "log", 60), tmp_path / "store"
    leave_unfinished(source, destination)
    work = tmp_path / "store.partial"
    partial = [work / ".plan.json.1.partial", work / "shards" / ".000007.json.1.partial"]
    for path in partial:
        path.write_bytes(b"torn")
    assert os.WIFSIGNALED(kill_at_step(6, source, destination))
    assert not any(path.exists() for path in partial)


def test_a_lost_shard_is_decoded_again(tmp_path: Path) -> None:
    source, destination = Counting(tmp_path / "log", 60), tmp_path / "store"
    run(Counting(tmp_path / "whole.log", 60), tmp_path / "whole")
    leave_unfinished(source, destination)
    first, *_ = sorted((tmp_path / "store.partial" / "shards").iterdir())
    first.unlink()
    run(source, destination)
    assert contents(destination) == contents(tmp_path / "whole")


def test_a_damaged_shard_is_named(tmp_path: Path) -> None:
    source, destination = Counting(tmp_path / "log", 60), tmp_path / "store"
    leave_unfinished(source, destination)
    first, *_ = sorted((tmp_path / "store.partial" / "shards").iterdir())
    first.write_bytes(first.read_bytes()[:-1])
    with pytest.raises(DataError, match=rf"{first} is damaged; remove this file and run again"):
        run(source, destination)
    first.unlink()
    run(source, destination)


def test_shards_and_workers_do_not_change_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores = []
    for workers, items in ((1, 3), (3, 256)):
        monkeypatch.setattr(shards, "MAX_ITEMS", items)
        stores.append(tmp_path / f"{items}")
        ingest(Counting(tmp_path / "log", 60), stores[-1], workers=workers, progress=False)
    assert contents(stores[0]) == contents(stores[1])


class Omitting(Counting):
    """A part of every fifth patch is skipped."""

    def __init__(self, log: Path, count: int) -> None:
        super().__init__(log, count)
        self.ids: set[str] = set()

    def read(self, item: Any) -> Any:
        arrays = super().read(item)
        self.ids.add(item.id)
        return arrays

    def skipped_parts(self, item: Any) -> dict[str, int]:
        return {"region": 2} if item.id in self.ids and int(item.id) % 5 == 0 else {}


def test_skipped_parts_are_counted_across_a_kill(tmp_path: Path) -> None:
    leave_unfinished(Omitting(tmp_path / "log", 60), tmp_path / "store")
    run(Omitting(tmp_path / "log", 60), tmp_path / "store")
    report = ingest(Omitting(tmp_path / "log", 60), tmp_path / "store", progress=False)
    readable = [number for number in range(0, 60, 5) if number % 11 != 3]
    assert report.store.meta.omitted == {"region": 2 * len(readable)}
    assert report.notes[-1] == f"Skipped: {2 * len(readable)} x region."


def test_second_process_is_refused_for_the_same_store(tmp_path: Path) -> None:
    class Waiting(Counting):
        def read(self, item: Any) -> Any:
            time.sleep(0.2)
            return super().read(item)

    destination = tmp_path / "store"
    with child(lambda: run(Waiting(tmp_path / "first.log", 60), destination)):
        until((tmp_path / "store.partial" / "shards").exists)
        time.sleep(0.02)
        with pytest.raises(DataError, match="Another process"):
            run(Counting(tmp_path / "second.log", 60), destination)
    run(Counting(tmp_path / "second.log", 60), destination)


def test_unknown_partial_folder_is_not_changed(tmp_path: Path) -> None:
    (tmp_path / "store.partial").mkdir()
    (tmp_path / "store.partial" / "precious.txt").touch()
    with pytest.raises(DataError, match="files that are not from an ingest; move it"):
        run(Counting(tmp_path / "log", 60), tmp_path / "store")
    assert (tmp_path / "store.partial" / "precious.txt").exists()
