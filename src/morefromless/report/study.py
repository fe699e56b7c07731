"""Write all output files of a study."""

from pathlib import Path

from morefromless.evaluation.results import Results
from morefromless.report import figures, tables
from morefromless.report.report import write_report


def write_study(results: Results, folder: Path) -> list[Path]:
    """Write the results, their tables, figures and report to `folder`; the page is first."""
    written = [
        *results.save(folder),
        *tables.write(results, folder),
        *figures.write(results, folder),
    ]
    *_, markdown, page = write_report(folder)
    return [page, *written, markdown]
