"""Ingest: a source is decoded once, into a store.

    DESTINATION.partial/     while it is being made
      plan.json              what is being made: listing, sizes, arrays
      he.rows                decoded patches, row i being item i
      journal.jsonl          which rows are on the disk, and what was set aside
      store/                 at the end: the store, which is moved to DESTINATION in one step

Rows are brought to the disk before the journal speaks of them. So an ingest that is killed at any
moment goes on where it was, and loses no more than one batch.
"""

import os
import shutil
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from tqdm import tqdm

from morefromless.data import atomic
from morefromless.data.atomic import StorageError
from morefromless.data.store import Store
from morefromless.errors import DataError
from morefromless.ingest import listing
from morefromless.ingest.decoding import Decoded, Read, Shape, decode, survey
from morefromless.ingest.finishing import finish
from morefromless.ingest.journal import Entry, Journal
from morefromless.ingest.opening import open_source
from morefromless.ingest.options import Options
from morefromless.ingest.plan import Plan
from morefromless.ingest.report import IngestReport
from morefromless.ingest.rows import Rows
from morefromless.ingest.selection import select
from morefromless.sources import Item, Source

__all__ = ["IngestReport", "Options", "ingest", "open_source"]

BATCH = 256
"""Patches between two entries into the journal: what a kill can cost."""


def ingest(
    source: Source,
    destination: Path,
    *,
    split: Literal["auto", "random"] = "auto",
    test_share: float = 0.2,
    seed: int = 0,
    size: int | None = None,
    resize: int | None = None,
    um_per_px: float | None = None,
    missing: Literal["drop", "keep"] = "drop",
    strict: bool = False,
    workers: int | None = None,
    progress: bool = True,
) -> IngestReport:
    """Decode `source` once into a store at `destination`; the options are those of `Options`.

    What cannot be used is set aside with its reason and the run goes on. Run again after a kill, it
    goes on where it was; run again when done, it only reports. Splits are the source's, else drawn:
    whole groups where groups are known, otherwise patches at random within each class. Raises
    `DataError` where no sound store can be made, `StorageError` where the disk refuses.
    """
    started = time.monotonic()
    options = Options(split, test_share, seed, size, resize, um_per_px, missing, strict)
    destination = Path(destination)
    items = source.items()
    datasheet = source.datasheet()
    listing.check(items, datasheet, split)
    made_from = {"listing": listing.fingerprint(items, datasheet), **asdict(options)}
    if files := source.files():
        made_from["files"] = listing.files_fingerprint(files)
    del made_from["strict"]  # it stops an ingest and never changes one
    if missing == "drop":
        del made_from["missing"]  # stores made before there was a choice say nothing of it
    work = destination.with_name(f"{destination.name}.partial")
    if destination.is_file() or (destination.exists() and any(destination.iterdir())):
        if not _same(destination, made_from):
            raise DataError(
                f"{destination} exists and was not made of this source with these options; remove "
                "it, or choose another destination."
            )
        if work.is_dir() and _ours(work):
            shutil.rmtree(work)  # left by a kill in the last moment
        return IngestReport.of(destination, time.monotonic() - started, already=True)

    journal = _begin(work)
    try:
        _make(source, items, work, destination, options, made_from, journal, workers, progress)
    finally:
        journal.close()
    return IngestReport.of(destination, time.monotonic() - started)


def _same(destination: Path, made_from: dict[str, Any]) -> bool:
    try:
        return bool(Store.open(destination).meta["made_from"] == made_from)
    except DataError:
        return False


def _begin(work: Path) -> Journal:
    if work.exists() and not _ours(work):
        raise DataError(f"{work} is in the way; move it, or choose another destination.")
    with atomic.explaining(work):
        work.mkdir(parents=True, exist_ok=True)
    return Journal(work / "journal.jsonl")


def _ours(work: Path) -> bool:
    """Whether a folder holds only what an ingest puts there, so that it may be removed."""
    return work.is_dir() and all(
        path.name in ("journal.jsonl", "plan.json", "store") or path.suffix in (".rows", ".partial")
        for path in work.iterdir()
    )


def _make(
    source: Source,
    items: Sequence[Item],
    work: Path,
    destination: Path,
    options: Options,
    made_from: dict[str, Any],
    journal: Journal,
    workers: int | None,
    progress: bool,
) -> None:
    workers = workers or len(os.sched_getaffinity(0))
    path = work / "plan.json"
    listed = made_from["listing"] + made_from.get("files", "")
    plan = Plan.load(path) if path.exists() else None
    if plan is not None:
        plan.check(work, listed, len(items), options)
    try:
        seen: dict[int, Read] = {}
        if plan is None:
            shape, seen = survey(source, items, options.size, options.resize, workers)
            for name in shape.arrays:
                Rows.reserve(work / f"{name}.rows", len(items), shape.row(name))
            plan = Plan(
                listed,
                len(items),
                options.size,
                options.resize,
                shape,
                options.missing,
            )
            plan.save(path)
        todo = [index for index in range(len(items)) if index not in journal.entries]
        if todo:
            keep = options.missing == "keep"
            decoded = decode(source, items, todo, plan.shape, seen, workers, keep)
            shown = tqdm(
                decoded,
                desc="decoding",
                total=len(items),
                initial=len(items) - len(todo),
                unit=" patches",
                disable=not progress,
            )
            _write(shown, items, work, plan.shape, journal, options.strict)
        datasheet = source.datasheet()
        scale = options.um_per_px or datasheet.um_per_px
        made = select(items, journal.entries, plan.shape, scale, options, datasheet.scheme is None)
        finished = finish(work, made, plan.shape, datasheet, made_from)
        with atomic.explaining(destination):
            finished.rename(destination)
            atomic.sync(destination.parent)
    except StorageError:
        if not journal.entries:
            shutil.rmtree(work)  # nothing to go on from, and it may fill the disk
        raise
    except DataError:
        shutil.rmtree(work)  # a verdict on the data: going on would only come to it again
        raise
    shutil.rmtree(work)


def _write(
    decoded: Iterable[Decoded],
    items: Sequence[Item],
    work: Path,
    shape: Shape,
    journal: Journal,
    strict: bool,
) -> None:
    """Write rows; each batch is brought to the disk before the journal speaks of it."""
    rows = {name: Rows(work / f"{name}.rows", shape.row(name)) for name in shape.arrays}
    try:
        batch: list[Entry] = []
        for done in decoded:
            if strict and done.reason:
                raise DataError(
                    f"'{items[done.index].origin}' cannot be taken ({done.reason}), and --strict "
                    "was given."
                )
            for name, patch in done.arrays.items():
                rows[name].write(done.index, patch)
            batch.append(Entry(done.index, done.hash, done.side, done.reason, done.absent))
            if len(batch) == BATCH:
                _commit(batch, rows, journal)
        _commit(batch, rows, journal)
    finally:
        for array in rows.values():
            array.close()


def _commit(batch: list[Entry], rows: dict[str, Rows], journal: Journal) -> None:
    for array in rows.values():
        array.flush()
    journal.append(batch)
    batch.clear()
