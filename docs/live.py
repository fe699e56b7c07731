"""Make the live pages of docs/gallery.md: a report and an explanation of a small study.

mkdocs runs this file (plugin gen-files) each time it builds the site. The study takes half a minute
and is kept in build/live. Later builds only copy it.
"""

import os
from contextlib import redirect_stdout
from pathlib import Path

import mkdocs_gen_files

from morefromless import cli

FOLDER = Path(__file__).parents[1] / "build" / "live"
STORE, STUDY, EXPLAINED = FOLDER / "store", FOLDER / "compare", FOLDER / "explained"
COMMANDS = (
    f"ingest synthetic:patches=180,patients=12,size=32 {STORE}",
    f"compare {STORE} --out {STUDY} --primary downsample:4 --seeds 2 --sharing independent "
    "--size 32 --encoder test_resnet --width 64 --epochs 3 --batch 32 --lr 1e-3 --jobs 1 "
    "--device cpu",
    f"explain {STUDY}/runs/asymmetric-*-s0* {STUDY}/runs/symmetric-*-s0* --out {EXPLAINED} "
    "--thumbnail 48 --device cpu",
)


def main() -> None:
    """Run the commands and copy their pages. Raises `RuntimeError` if a command fails."""
    if not (EXPLAINED / "index.html").is_file():
        for command in COMMANDS:
            arguments = [path for word in command.split() for path in _expand(word)]
            with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
                failed = cli.run(["--quiet", *arguments])
            if failed:
                raise RuntimeError(f"mfl {command} failed.")
    _copy(STUDY / "report.html", "live/report.html")
    for file in sorted(EXPLAINED.rglob("*")):
        if file.is_file() and file.suffix != ".pdf":
            _copy(file, f"live/explained/{file.relative_to(EXPLAINED)}")


def _expand(word: str) -> list[str]:
    """Expand a word with stars to the matching paths; return any other word unchanged."""
    if "*" not in word:
        return [word]
    return [str(path) for path in Path("/").glob(word.removeprefix("/"))]


def _copy(file: Path, target: str) -> None:
    with mkdocs_gen_files.open(target, "wb") as copy:
        copy.write(file.read_bytes())


main()
