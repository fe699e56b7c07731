"""Ingest: decode a source once into a store, shard by shard. Existing shards are skipped.

    STORE.partial/     exists until the store is complete
      plan.json        the listing, sizes and arrays to decode
      store/           the arrays; each patch is written once. At the end it is complete and is
                       renamed to STORE
      thumbnails.npy   a thumbnail of each patch, to find near-duplicates
      shards/          records of consecutive items, written after their rows are on disk
      slides/          for slides: tile list and preview of each slide, moved into the store
      provenance.json  the provenance of the store, written before the arrays are reordered

An ingest can be killed at any time. The next call resumes it and repeats at most the current shard
and the items read ahead. The bytes of the store do not depend on kills or on the number of workers.
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
from morefromless.data.slide_files import slide_name
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

WORK_FILES = {
    "lock",
    "plan.json",
    "provenance.json",
    "shards",
    "slides",
    "store",
    "thumbnails.npy",
}
"""Names of everything that an ingest writes into STORE.partial."""


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
    """Decode `source` once into a store at `path`.

    `source` is a `Source` or a name for `open_source`. The options are those of `IngestConfig`.

    Patches that cannot be used are rejected with a reason, and the ingest continues. After a kill,
    the same call resumes. If the store is complete, it only reports. The split is that of the
    source if it has train and test. Otherwise it is drawn at random: by whole groups if groups are
    known, else by patches within each class. Raises `ConfigError` for options that cannot work,
    `DataError` if no valid store can be made, and `StorageError` if the disk cannot be written.

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
    items = list(source.items())  # a user's own class may return a generator
    if not items:
        raise listing.no_patches(source.datasheet().title, source.skipped_files())
    listing.check_listing(items, source.datasheet(), split)
    spellings = {given: normal for item in items for given, normal in item.spellings.items()}
    provenance = _provenance(source, items, config)
    work = path.with_name(f"{path.name}.partial")
    done = _existing(path, work, provenance)
    if done is None:
        with _claimed(work):
            done = _existing(path, work, provenance)  # another process may have just finished
            if done is None:
                _build(source, items, work, config, provenance, progress)
    store = done or Store.open(path)
    return IngestReport(store, done is not None, spellings)


def _provenance(source: Source, items: Sequence[Item], config: IngestConfig) -> dict[str, Any]:
    """Everything that determines the content of a store. `strict` does not change the content."""
    options = ("split", "test_share", "seed", "size", "resize", "um_per_px", "missing")
    return {
        "listing": listing.fingerprint(items, source.datasheet()),
        "files": listing.files_fingerprint(source.files()),
        **{name: getattr(config, name) for name in options},
    }


def _existing(path: Path, work: Path, provenance: dict[str, Any]) -> Store | None:
    """The store of this provenance at `path`, or None if `path` does not exist or is empty.

    Removes leftovers in `work`. Raises `DataError` if there is anything else at `path`.
    """
    if not path.is_file() and not (path.exists() and any(path.iterdir())):
        return None
    store = _open_matching(path, provenance)
    if store is None:
        raise DataError(
            f"{path} exists and was not made from this source with these options; remove it, or "
            "choose another destination."
        )
    if _is_work_folder(work):
        shutil.rmtree(work, ignore_errors=True)
    return store


def _open_matching(path: Path, provenance: dict[str, Any]) -> Store | None:
    """The store at `path`, or None if there is no store of this provenance. Raises `DataError` if
    the store is damaged."""
    if not (path / "meta.json").is_file():
        return None
    store = Store.open(path)
    return store if store.meta.provenance == provenance else None


def _is_work_folder(work: Path) -> bool:
    """Whether a folder contains only files of an ingest, so that it is safe to remove."""
    return work.is_dir() and all(
        path.name in WORK_FILES or path.suffix == ".partial" for path in work.iterdir()
    )


@contextmanager
def _claimed(work: Path) -> Iterator[None]:
    """Lock the folder for this process and remove temporary files of killed processes."""
    if work.exists() and not _is_work_folder(work):
        raise DataError(
            f"{work} contains files that are not from an ingest; move it, or choose another "
            "destination."
        )
    with locked(work / "lock") as free:
        if free is False:
            raise DataError(
                f"Another process is writing to {work}; wait for it, or choose another destination."
            )
        with files.raising_storage_errors(work):
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
        _discard_other_order(work, provenance)
        shards = Shards(work / "shards", plan)
        shards.check_space()
        rows = Rows(work / "store", work / "thumbnails.npy", plan.shape, plan.count)
        with closing(rows):
            _decode_missing(source, items, shards, rows, sample, config, progress)
            datasheet = source.datasheet()
            scale = config.um_per_px or datasheet.um_per_px
            needed = listing.classes_needed(items, datasheet, config.split)
            selection = select(items, shards.records(), plan.shape.side, scale, config, needed)
            selection.omitted |= source.skipped_files()
            selection.caveats = [*source.remarks(), *selection.caveats]
            files.write_json(work / "provenance.json", provenance)
            assemble(work / "store", rows, selection, datasheet, provenance)
        with files.raising_storage_errors(config.store):
            if (work / "slides").is_dir():
                _remove_other_slides(work / "slides", source.files())
                _remove(work / "store" / "slides")  # left by an ingest that was killed right here
                (work / "slides").rename(work / "store" / "slides")
            (work / "store").rename(config.store)
            files.sync(config.store.parent)
    except StorageError:
        if not any((work / "shards").iterdir()):
            shutil.rmtree(work)  # there is nothing to resume, and it may fill the disk
        raise
    except DataError:
        for name in WORK_FILES - {"slides"}:  # resuming would only raise the same error again
            _remove(work / name)
        raise
    finally:
        with suppress(OSError):  # not empty
            work.rmdir()
    shutil.rmtree(work, ignore_errors=True)  # another process may create the lock at the same time


def _discard_other_order(work: Path, provenance: dict[str, Any]) -> None:
    """Discard all shards if a killed ingest with other options has already reordered the arrays."""
    path = work / "provenance.json"
    if path.exists() and read_json(path, dict[str, Any]) != provenance:
        for name in ("store", "shards", path.name):
            _remove(work / name)
        (work / "shards").mkdir()


def _remove_other_slides(folder: Path, paths: Sequence[Path]) -> None:
    """Remove what an interrupted or failed command left for slides that are not among `paths`."""
    names = {slide_name(path) for path in paths}
    for file in folder.iterdir():
        if file.stem not in names:
            file.unlink()


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
    """Make this package callable.

    After an import of the package, `morefromless.ingest` is the package and no longer the function.
    Calling it calls the function, so the public name always works.
    """

    def __call__(self, *arguments: Any, **options: Any) -> IngestReport:
        return ingest(*arguments, **options)


sys.modules[__name__].__class__ = _Callable
