"""All that is written of a study, in one place."""

from pathlib import Path

from morefromless.evaluation.results import Results
from morefromless.report import figures, tables
from morefromless.report.report import write_report


def write_study(results: Results, folder: Path) -> list[Path]:
    """The results, their tables and their figures, as files in `folder`."""
    written = [
        *results.save(folder),
        *tables.write(results, folder),
        *figures.write(results, folder),
    ]
    *_, markdown, page = write_report(folder)
    return [page, *written, markdown]
