"""Many patches are decoded in processes: the store is the same, even if a process is killed."""

import errno
import multiprocessing
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from morefromless.data.archive_readers import open_archive
from morefromless.data.images import FURTHER_PAGE
from morefromless.errors import WorkerError
from morefromless.files import StorageError
from morefromless.ingest import decoding, ingest, open_source, shards
from morefromless.ingest.parallel import forked
from morefromless.sources import Source
from tests.ingest.samples import Counting, contents, folder, patch
from tests.processes import alive, start_process, until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks on Linux only")

COUNT = 300


@pytest.fixture(autouse=True)
def always_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "MIN_FORKED_ITEMS", 1)
    monkeypatch.setattr(decoding, "FORKED_PENDING_BATCHES", 4)
    monkeypatch.setattr(shards, "MAX_ITEMS", 20)


class Forkable(Counting):
    """Every read also records its process in `processes`; if `slow`, it takes a millisecond."""

    def __init__(self, log: Path, count: int = COUNT, slow: bool = False) -> None:
        super().__init__(log, count)
        self.processes, self.slow = log.with_suffix(".processes"), slow

    @property
    def fork_safe(self) -> bool:
        return True

    def read(self, item: Any) -> Any:
        with self.processes.open("a") as file:
            file.write(f"{os.getpid()}\n")
        time.sleep(0.001 * self.slow)
        return super().read(item)

    def children(self, parent: int) -> set[int]:
        """Processes that have read, without the parent, which reads the sample."""
        lines = self.processes.read_text().splitlines() if self.processes.exists() else []
        return {int(line) for line in lines if line.isdigit()} - {parent}


def pack(root: Path, kind: str) -> Path:
    return Path(shutil.make_archive(str(root.with_name(f"packed-{kind}")), kind, root))


def run(source: Source, destination: Path, workers: int = 2) -> None:
    ingest(source, destination, workers=workers, progress=False)


def test_processes_write_the_same_bytes_as_one_thread(tmp_path: Path) -> None:
    run(Counting(tmp_path / "one.log", COUNT), tmp_path / "one", workers=1)
    source = Forkable(tmp_path / "two.log")
    run(source, tmp_path / "two")
    assert len(source.children(os.getpid())) == 3  # two workers, and one while another one waits
    assert sorted(source.readings()) == list(range(COUNT))
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("kind", ["folder", "zip", "tar"])
def test_processes_read_folders_and_archives(kind: str, tmp_path: Path) -> None:
    root = folder(tmp_path / "in", {f"{'AB'[i % 2]}/{i:03}.png": i for i in range(200)})
    (root / "A" / "000.png").write_bytes(b"no image")
    pages = [Image.fromarray(patch(seed)) for seed in (901, 902, 903)]
    for number in range(60):  # more than the sample has
        pages[0].putpixel((0, 0), (number, 0, 0))
        pages[0].save(root / "B" / f"p{number}.tif", save_all=True, append_images=pages[1:])
    source = open_source(str(root if kind == "folder" else pack(root, kind)))
    assert source.fork_safe
    run(source, tmp_path / "two")
    reopened = open_source(str(source.path))  # type: ignore[attr-defined]
    report = ingest(reopened, tmp_path / "one", workers=1, progress=False)
    assert report.store.meta.omitted[FURTHER_PAGE] == 120  # counted in the processes
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_a_compressed_tar_is_read_by_threads(tmp_path: Path) -> None:
    root = folder(tmp_path / "in", {f"{'AB'[i % 2]}/{i:03}.png": i for i in range(20)})
    source = open_source(str(pack(root, "gztar")))
    assert not source.fork_safe
    run(source, tmp_path / "store")


def test_processes_read_one_zip_independently(tmp_path: Path) -> None:
    root = folder(tmp_path / "in", {f"A/{i:03}.png": i for i in range(300)})
    archive = open_archive(pack(root, "zip"))
    expected = {name: (root / "A" / name.rpartition("/")[2]).read_bytes() for name in archive.names}

    def read_all() -> bool:
        return all(archive.read(n) == data for _ in range(3) for n, data in expected.items())

    children = [start_process(lambda: read_all() or os._exit(1)) for _ in range(2)]
    assert read_all()
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]


def test_workers_exit_with_a_killed_parent_and_ingest_resumes(tmp_path: Path) -> None:
    run(Counting(tmp_path / "one.log", COUNT), tmp_path / "one", workers=1)
    source, destination = Forkable(tmp_path / "log", slow=True), tmp_path / "store"
    parts = tmp_path / "store.partial" / "shards"
    for number in ("000000", "000002", "000006"):
        parent = start_process(lambda: run(source, destination))
        until((parts / f"{number}.json").exists)
        os.kill(parent, signal.SIGKILL)
        os.waitpid(parent, 0)
        until(lambda: not any(map(alive, source.children(0))))
        assert not destination.exists()
    source.slow = False
    run(source, destination)
    assert contents(destination) == contents(tmp_path / "one")


def test_killed_worker_raises_an_error_and_ingest_resumes(tmp_path: Path) -> None:
    run(Counting(tmp_path / "one.log", COUNT), tmp_path / "one", workers=1)

    class Deadly(Forkable):
        def read(self, item: Any) -> Any:
            if item.id == "150" and not self.slow:
                until((tmp_path / "store.partial/shards/000000.json").exists)
                os.kill(os.getpid(), signal.SIGKILL)
            return super().read(item)

    source, destination = Deadly(tmp_path / "log"), tmp_path / "store"
    with pytest.raises(WorkerError, match=r"was killed.*fewer --workers, and it resumes"):
        run(source, destination)
    finished_shards = len(list((tmp_path / "store.partial" / "shards").iterdir()))
    assert finished_shards
    until(lambda: not any(map(alive, source.children(os.getpid()))))
    before = len(source.readings())
    source.slow = True
    run(source, destination)
    assert len(source.readings()) - before == COUNT - 20 * finished_shards
    assert contents(destination) == contents(tmp_path / "one")


def test_ctrl_c_stops_all_workers_and_ingest_resumes(tmp_path: Path) -> None:
    source, destination = Forkable(tmp_path / "log", slow=True), tmp_path / "store"

    def interrupted() -> None:
        os.setpgid(0, 0)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            run(source, destination)
        except KeyboardInterrupt:
            os._exit(7)

    parent = start_process(interrupted)
    until(lambda: len(source.children(parent)) >= 2)
    os.killpg(parent, signal.SIGINT)
    assert os.waitstatus_to_exitcode(os.waitpid(parent, 0)[1]) == 7
    assert not any(map(alive, source.children(parent)))
    run(source, destination)


def test_full_disk_in_a_worker_raises_a_storage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.pwrite

    def raise_disk_full(descriptor: int, data: Any, offset: int) -> int:
        if multiprocessing.parent_process():
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", raise_disk_full)
    with pytest.raises(StorageError, match="the disk is full; free some space"):
        run(Forkable(tmp_path / "log"), tmp_path / "store")


def test_few_patches_are_decoded_by_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "MIN_FORKED_ITEMS", 41)
    source = Forkable(tmp_path / "log", 40)
    run(source, tmp_path / "store")
    assert not source.children(os.getpid())


def test_forked_results_are_in_order() -> None:
    results = forked(lambda key: (key, os.getpid()), range(50), 2, 4)
    keys, processes = zip(*results, strict=True)
    assert keys == tuple(range(50))
    assert os.getpid() not in processes
