"""Identify what a folder contains, by the files that the commands write."""

from pathlib import Path

from morefromless.errors import ConfigError
from morefromless.files import check_writable

CONTENT_CLAUSES = {
    "run.json": "is one run; evaluate it with mfl probe {}",
    "meta.json": "is a store; look at it with mfl views {}",
    "representations.json": "has its tables in representations.md, next to its figures",
    "index.html": "already has a page: open {}/index.html",
}

VALIDATION_FILE = "validation.md"
"""The tables of `mfl validate`, in the folder that it writes."""
GENERATOR_TAG = b'<meta name="generator" content="morefromless'
"""In the head of every page."""


def check_out(folder: Path | None) -> None:
    """Raise `ConfigError` if `--out` is a file, a store or a run, holds a page of another program,
    or is not writable."""
    if folder is None:
        return
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"--out {folder} is a file; give a folder.")
    for name in ("meta.json", "run.json"):
        if (folder / name).is_file():
            raise ConfigError(
                f"--out {folder} {CONTENT_CLAUSES[name].format(folder)}; give another folder."
            )
    for name in ("index.html", "report.html"):
        page = folder / name
        if page.is_file() and GENERATOR_TAG not in page.read_bytes()[:4096]:
            raise ConfigError(f"{page} is not a page of morefromless; give another --out.")
    check_writable(folder)


def content_clause(folder: Path) -> str:
    """A clause for an error message, if a folder holds something other than expected.

    >>> content_clause(Path("nowhere"))
    ''
    """
    for name, clause in CONTENT_CLAUSES.items():
        if (folder / name).is_file():
            return f"; it {clause.format(folder)}"
    return ""
