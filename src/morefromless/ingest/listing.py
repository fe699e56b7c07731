"""Check the listing of a source before anything is decoded."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import Path

from morefromless.data.labels import UNLABELLED, check_spellings, tissue_classes
from morefromless.data.slide_files import SLIDE_ONLY_SUFFIXES
from morefromless.data.splits import check_classes
from morefromless.errors import DataError
from morefromless.sources import Datasheet, Item


def skipped_kinds(skipped: Mapping[str, int]) -> str:
    """What a source skipped, as one list.

    >>> skipped_kinds({"page": 1200, "hidden file": 1})
    '1,200 x page, 1 x hidden file'
    """
    return ", ".join(f"{number:,} x {kind}" for kind, number in skipped.items())


def no_patches(title: str, skipped: Mapping[str, int]) -> DataError:
    """Error for when a source has no patches, only other files.

    >>> str(no_patches("slides", {"file ending in '.svs'": 2}))
    "slides has no patches, only 2 x file ending in '.svs'; cut slides into tiles with mfl tile."
    """
    only = skipped_kinds(skipped)
    slides = any(repr(suffix) in kind for suffix in SLIDE_ONLY_SUFFIXES for kind in skipped)
    return DataError(
        f"{title} has no patches{f', only {only}' if only else ''}; "
        f"{'cut slides into tiles with mfl tile' if slides else 'check the path'}."
    )


def check_listing(items: Sequence[Item], datasheet: Datasheet, split: str) -> None:
    """Raise `DataError` if these items cannot make a store, regardless of their pixels."""
    title = datasheet.title
    duplicates = [name for name, count in Counter(item.id for item in items).items() if count > 1]
    if duplicates:
        raise DataError(
            f"{title} lists the id '{duplicates[0]}' twice; every patch needs its own id."
        )
    labels = sorted({item.label for item in items})
    check_spellings(labels)
    groups = {item.group for item in items if item.group is not None}
    check_spellings(groups, "groups (patients or slides)")
    classes = tissue_classes(labels)
    if len(classes) < classes_needed(items, datasheet, split):
        also_unlabelled = " and unlabelled patches" * (len(classes) < len(labels))
        raise DataError(
            f"{title} has only one class ('{classes[0]}'){also_unlabelled}; comparing encoders "
            "needs at least two classes (as folders, in a column of labels or in paths with "
            "--label), or nuclei (--nuclei). To train without classes, use --unlabelled; in a "
            "table, leave the column of labels empty."
        )
    if follows_source(items, split):
        check_classes([item.label for item in items], [str(item.split) for item in items])


def classes_needed(items: Sequence[Item], datasheet: Datasheet, split: str) -> int:
    """Minimum number of classes of a store: 1 or 2.

    One is enough if nuclei define a task, if no patch has a label, or if all patches are in test
    (an external cohort).
    """
    free = datasheet.scheme is not None or split == "test"
    return 1 if free or all(item.label == UNLABELLED for item in items) else 2


def follows_source(items: Sequence[Item], split: str) -> bool:
    """Whether the source's own split is used: it has train and test, and `split` is `auto`.

    Raises `DataError` if the source knows the split of only some patches.
    """
    splits = {item.split for item in items}
    if split != "auto" or not splits >= {"train", "test"}:
        return False
    if None in splits:
        stray = next(item for item in items if item.split is None)
        raise DataError(
            f"'{stray.origin}' has no split, but other patches have one; fix the source, or draw a "
            "new train and test split with --split random."
        )
    return True


def fingerprint(items: Sequence[Item], datasheet: Datasheet) -> str:
    """blake2b-128 of a datasheet and a listing. It does not depend on the location of the source.

    Pixels are not included: they are read only once, and only if the store does not exist yet.
    """
    sheet: list[object] = [datasheet.title, datasheet.um_per_px, list(datasheet.classes)]
    if datasheet.scheme is not None:
        sheet += [datasheet.scheme.to_json(), datasheet.segmentation]
    if datasheet.optional:
        sheet.append(sorted(datasheet.optional))
    digest = blake2b(json.dumps(sheet).encode(), digest_size=16)
    for item in items:
        row = (item.id, item.label, item.origin, item.split, item.group)
        digest.update(json.dumps(row).encode())
    return digest.hexdigest()


def files_fingerprint(files: Sequence[Path]) -> str:
    """blake2b-128 of the names, sizes and modification times of the files that a source reads."""
    digest = blake2b(digest_size=16)
    for path in files:
        facts = path.stat()
        digest.update(json.dumps((path.name, facts.st_size, facts.st_mtime_ns)).encode())
    return digest.hexdigest()
