"""`meta.json` of a store, for stores that tests write by hand."""

from typing import Any

from morefromless.data.store_meta import StoreMeta


def meta_document(**overrides: Any) -> dict[str, Any]:
    """`meta.json` as a dict; keys in `overrides` replace the defaults."""
    datasheet = {
        "title": "drawn",
        "licence": "Apache-2.0",
        "citation": "",
        "um_per_px": 0.5,
        "classes": {},
        "scheme": None,
        "segmentation": "",
    }
    return {
        "format": 2,
        "morefromless": "0",
        "hash": "0" * 32,
        "datasheet": datasheet,
        "classes": ["TUM", "ADI"],
        "arrays": {"he": {"shape": [6, 4, 4, 3], "dtype": "uint8"}},
        "scheme": None,
        "um_per_px": 0.5,
        "split_rule": "source",
        "groups_known": True,
        "splits": {"train": 2, "test": 2, "val": 2},
        "rejected": {},
        "absent": {},
        "omitted": {},
        "caveats": [],
        "provenance": {},
        "files": {},
        **overrides,
    }


def store_meta(**overrides: Any) -> StoreMeta:
    """`StoreMeta` as in a store, not validated."""
    return StoreMeta(**meta_document(**overrides))
