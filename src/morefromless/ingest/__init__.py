"""Ingest: a source is decoded once, into a store, in shards; a shard that exists is done.

    STORE.partial/     until the store is whole
      plan.json        what is decoded: listing, sizes, arrays
      store/           the arrays, into which each patch is written once; at the end the store,
                       which becomes STORE in one step
      thumbnails.npy   of each patch, by which near-duplicates are found
      shards/          what became of consecutive items, written when their rows are on the disk
      slides/          of slides: the list of tiles and a preview of each, which the store keeps
      provenance.json  once the arrays are put in order: of which store

An ingest that is killed at any moment goes on where it was and loses no more than the shard that it
was decoding and what it had read ahead. The store's bytes do not depend on kills or on the number
of workers.
"""

import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from morefromless import files
from morefromless.config import IngestConfig
from morefromless.data.store import Store
from morefromless.devices import available_cores
from morefromless.documents import read_json
from morefromless.errors import DataError
from morefromless.files import StorageError
from morefromless.ingest import listing
from morefromless.ingest.assembly import assemble
from morefromless.ingest.decoding import Read, decode, survey
from morefromless.ingest.opening import open_source
from morefromless.ingest.report import IngestReport
from morefromless.ingest.rows import Rows
from morefromless.ingest.selection import select, strict_error
from morefromless.ingest.shards import Plan, Shards
from morefromless.locks import locked
from morefromless.progress import Bar
from morefromless.sources import Item, Source

__all__ = ["IngestReport", "ingest", "open_source"]

CONTENT = {
    "lock",
    "plan.json",
    "provenance.json",
    "shards",
    "slides",
    "store",
    "thumbnails.npy",
}
"""What an ingest puts into its folder."""


def ingest(
    source: Source | str | Path,
    path: Path | str,
    *,
    split: Literal["auto", "random", "test"] = "auto",
    test_share: float = 0.2,
    seed: int = 0,
    size: int | None = None,
    resize: int | None = None,
    workers: int | None = None,
    strict: bool = False,
    missing: Literal["drop", "keep"] = "drop",
    um_per_px: float | None = None,
    progress: bool = True,
) -> IngestReport:
    """Decode `source`, or what `open_source` makes of its name, once into a store at `path`.

    The options are those of `IngestConfig`.

    What cannot be used is rejected with its reason and the run goes on. Run again after a kill, it
    goes on where it was; run again when done, it only reports. Splits are the source's, else drawn:
    whole groups where groups are known, otherwise patches at random within each class. Raises
    `ConfigError` for options that cannot work, `DataError` where no sound store can be made,
    `StorageError` where the disk refuses.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "store"
    >>> report = ingest("synthetic:patches=90,size=32", path, progress=False)
    >>> report.accepted, dict(report.rejected)
    (90, {})
    """
    path = Path(path)
    source = source if isinstance(source, Source) else open_source(str(source))
    config = IngestConfig(
        source=type(source).__name__,
        store=path,
        split=split,
        test_share=test_share,
        seed=seed,
        size=size,
        resize=resize,
        workers=workers or available_cores(),
        strict=strict,
        missing=missing,
        um_per_px=um_per_px,
    )
    items = list(source.items())  # of somebody else's class it may be a generator
    listing.check(items, source.datasheet(), split)
    spellings = {given: normal for item in items for given, normal in item.spellings.items()}
    provenance = _provenance(source, items, config)
    work = path.with_name(f"{path.name}.partial")
    done = _existing(path, work, provenance)
    if done is None:
        with _claimed(work):
            done = _existing(path, work, provenance)  # another process may just have ended
            if done is None:
                _build(source, items, work, config, provenance, progress)
    store = done or Store.open(path)
    return IngestReport(store, done is not None, spellings)


def _provenance(source: Source, items: Sequence[Item], config: IngestConfig) -> dict[str, Any]:
    """What determines the content of a store; `strict` stops an ingest and never changes one."""
    options = ("split", "test_share", "seed", "size", "resize", "um_per_px", "missing")
    return {
        "listing": listing.fingerprint(items, source.datasheet()),
        "files": listing.files_fingerprint(source.files()),
        **{name: getattr(config, name) for name in options},
    }


def _existing(path: Path, work: Path, provenance: dict[str, Any]) -> Store | None:
    """The store at `path`, with nothing left of the work on it; None where there is nothing.

    Raises `DataError` where there is anything else.
    """
    if not path.is_file() and not (path.exists() and any(path.iterdir())):
        return None
    store = _store_of(path, provenance)
    if store is None:
        raise DataError(
            f"{path} exists and was not made of this source with these options; remove it, or "
            "choose another destination."
        )
    if _is_ours(work):
        shutil.rmtree(work, ignore_errors=True)
    return store


def _store_of(path: Path, provenance: dict[str, Any]) -> Store | None:
    """The store at `path`; None where there is none of this provenance."""
    try:
        store = Store.open(path)
    except DataError:
        return None
    return store if store.meta.provenance == provenance else None


def _is_ours(work: Path) -> bool:
    """Whether a folder holds only what an ingest puts there, so that it may be removed."""
    return work.is_dir() and all(
        path.name in CONTENT or path.suffix == ".partial" for path in work.iterdir()
    )


@contextmanager
def _claimed(work: Path) -> Iterator[None]:
    """The folder for this process alone, without the leftovers of writers that were killed."""
    if work.exists() and not _is_ours(work):
        raise DataError(f"{work} is in the way; move it, or choose another destination.")
    with locked(work / "lock") as free:
        if free is False:
            raise DataError(
                f"Another process is writing to {work}; wait for it, or choose another destination."
            )
        with files.explaining(work):
            (work / "shards").mkdir(exist_ok=True)
            for partial in work.rglob(".*.partial"):
                partial.unlink()
        yield


def _build(
    source: Source,
    items: Sequence[Item],
    work: Path,
    config: IngestConfig,
    provenance: dict[str, Any],
    progress: bool,
) -> None:
    plan_path = work / "plan.json"
    listed = provenance["listing"] + provenance["files"]
    plan = Plan.load(plan_path) if plan_path.exists() else None
    if plan is not None:
        plan.check(work, listed, len(items), config)
    try:
        sample: dict[int, Read] = {}
        if plan is None:
            shape, sample = survey(source, items, config.size, config.resize, config.workers)
            plan = Plan.of(listed, len(items), config, shape)
            files.write_json(plan_path, plan)
        _forget_other_order(work, provenance)
        shards = Shards(work / "shards", plan)
        shards.check_space()
        with Rows(work / "store", work / "thumbnails.npy", plan.shape, plan.count) as rows:
            _decode_missing(source, items, shards, rows, sample, config, progress)
            datasheet = source.datasheet()
            scale = config.um_per_px or datasheet.um_per_px
            needed = listing.classes_needed(items, datasheet, config.split)
            selection = select(items, shards.records(), plan.shape.side, scale, config, needed)
            selection.omitted |= source.passed_over()
            selection.caveats = [*source.remarks(), *selection.caveats]
            files.write_json(work / "provenance.json", provenance)
            assemble(work / "store", rows, selection, datasheet, provenance)
        with files.explaining(config.store):
            if (work / "slides").is_dir():
                _remove(work / "store" / "slides")  # of an ingest that was killed right here
                (work / "slides").rename(work / "store" / "slides")
            (work / "store").rename(config.store)
            files.sync(config.store.parent)
    except StorageError:
        if not any((work / "shards").iterdir()):
            shutil.rmtree(work)  # nothing to go on from, and it may fill the disk
        raise
    except DataError:
        for name in CONTENT - {"slides"}:  # a verdict on the data: it would only come again
            _remove(work / name)
        raise
    finally:
        with suppress(OSError):  # not empty
            work.rmdir()
    shutil.rmtree(work, ignore_errors=True)  # another process may look for the lock meanwhile


def _forget_other_order(work: Path, provenance: dict[str, Any]) -> None:
    """Decode all anew where a killed ingest with other options has put the arrays in its order."""
    path = work / "provenance.json"
    if path.exists() and read_json(path, dict[str, Any]) != provenance:
        for name in ("store", "shards", path.name):
            _remove(work / name)
        (work / "shards").mkdir()


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _decode_missing(
    source: Source,
    items: Sequence[Item],
    shards: Shards,
    rows: Rows,
    sample: dict[int, Read],
    config: IngestConfig,
    progress: bool,
) -> None:
    plan, missing = shards.plan, shards.missing()
    indices = [index for number in missing for index in shards.items(number)]
    decoded = decode(source, items, indices, rows, sample, config.workers, plan.missing)
    done = len(items) - len(indices)
    with (
        closing(decoded),
        Bar(
            desc="decoding", total=len(items), initial=done, unit=" patches", disable=not progress
        ) as bar,
    ):
        for number in missing:
            records = []
            for index in shards.items(number):
                record = next(decoded)
                if config.strict and record.reason:
                    raise strict_error(items[index].origin, record.reason)
                records.append(record)
                bar.update()
            rows.sync()
            shards.write(number, records)


class _Callable(ModuleType):
    """This package, which `morefromless.ingest` is once it was imported: it does what `ingest`
    does, so that the public name means one thing."""

    def __call__(self, *arguments: Any, **options: Any) -> IngestReport:
        return ingest(*arguments, **options)


sys.modules[__name__].__class__ = _Callable
