"""What a folder is that one of the commands wrote, by a file that stands in it."""

from pathlib import Path

KINDS = {
    "run.json": "is one run; evaluate it with mfl probe {}",
    "meta.json": "is a store; look at it with mfl views {}",
    "representations.json": "has its tables in representations.md, beside its figures",
    "index.html": "has its page already: open {}/index.html",
}


def remark(folder: Path) -> str:
    """A clause for an error, where a folder holds something else than what was asked for.

    >>> remark(Path("nowhere"))
    ''
    """
    for name, clause in KINDS.items():
        if (folder / name).is_file():
            return f"; it {clause.format(folder)}"
    return ""
