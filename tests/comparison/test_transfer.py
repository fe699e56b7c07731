"""Table 2's protocol from end to end, on a few synthetic patches."""

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from morefromless.comparison.grid import grid, methods
from morefromless.comparison.transfer import transfer
from morefromless.data.store import Store
from morefromless.errors import ConfigError, DataError
from morefromless.evaluation.paired import holm
from morefromless.options import TransferOptions
from morefromless.report.transfer import report
from tests.conftest import TINY


@pytest.fixture
def options(tissue: Store, tmp_path: Path) -> TransferOptions:
    return TransferOptions(
        store=tissue.path,
        out=tmp_path / "transfer",
        seeds=2,
        jobs=1,
        width=32,
        **(TINY | {"epochs": 1}),
    )


def test_the_grid_is_the_papers(options: TransferOptions) -> None:
    titles = [method.title for method in methods(replace(options, sharing=("shared",)))]
    assert titles == [
        "vicreg asymmetric, shared",
        "vicreg symmetric, shared",
        "simclr asymmetric, shared",
        "simclr symmetric, shared",
        "supervised on tissue",
        "supervised on cell",
    ]
    runs = grid(options, "hash")
    # A seed has 2 objectives x 2 sharings x (1 asymmetric + 2 symmetric), and 2 x 2 supervised.
    assert len(runs) == 2 * (2 * 2 * 3 + 4)
    assert len({one.options.out for one in runs}) == len(runs)
    assert [one.seed for one in runs] == [0] * 16 + [1] * 16


def test_labels_do_not_make_self_supervised_runs_others(options: TransferOptions) -> None:
    one, other = (
        {r.options.out.name for r in grid(replace(options, tasks=tasks), "hash")}
        for tasks in (("tissue", "cell"), ("cell",))
    )
    assert other < one
    assert all("supervised" in name for name in one - other)


def test_from_end_to_end(options: TransferOptions) -> None:
    options = replace(options, objectives=("vicreg",), sharing=("independent",))
    found = transfer(options)
    keys = [(cell.task, cell.modality, cell.method.title) for cell in found.cells]
    assert len(keys) == len(set(keys)) == 2 * 2 * (2 + 2)
    own = [cell for cell in found.cells if cell.head]
    assert {(cell.method.learnt, cell.task) for cell in own} == {
        ("tissue", "tissue"),
        ("cell", "cell"),
    }
    for cell in found.cells:
        assert len(cell.accuracies) == 2
        assert cell.accuracy.low <= sum(cell.accuracies) / 2 <= cell.accuracy.high
    assert len(found.contrasts) == 4  # like with like, on each task and modality
    assert [c.holm_p for c in found.contrasts] == holm([c.p for c in found.contrasts])
    assert set(found.floors) == {"tissue", "cell"}

    papers = report(found).sections[0]
    assert papers.header == ("task: modality", "vicreg asym.", "superv. tissue", "superv. cell")
    rows = [row[0] for row in papers.rows]
    assert rows == ["tissue: nuclei", "tissue: full", "cell: nuclei", "cell: full"]
    markdown, csv, everything = report(found).write(options.out, "transfer")
    text = markdown.read_text()
    assert "| task: modality | asymmetric, independent | symmetric, independent |" in text
    assert "supervised on tissue | supervised on cell | majority" in text
    assert "Background" in text  # classes and their counts
    assert len(pd.read_csv(csv)) == 2 * len(keys)
    assert len(json.loads(everything.read_text())["cells"]) == len(keys)

    # A transferred encoder is probed frozen, its own head answers its own task.
    supervised = next(one for one in found.runs if one.method.title == "supervised on cell")
    left = {path.name for path in supervised.run.path.iterdir()}
    assert {"scores-primary-head-cell.json", "scores-primary-linear.json"} <= left

    before = {path: path.stat().st_mtime_ns for path in options.out.glob("runs/**/*")}
    again = transfer(options)
    assert [cell.accuracies for cell in again.cells] == [cell.accuracies for cell in found.cells]
    assert {path: path.stat().st_mtime_ns for path in options.out.glob("runs/**/*")} == before


def test_what_cannot_work_is_said_before_anything_is_trained(options: TransferOptions) -> None:
    with pytest.raises(ConfigError, match="both the same"):
        replace(options, modalities=("full", "full"))
    with pytest.raises(ConfigError, match="--tasks needs at least one"):
        replace(options, tasks=())
    with pytest.raises(ConfigError, match="no task named 'cells'"):
        transfer(replace(options, tasks=("cells",)))
    with pytest.raises(ConfigError, match="this modality draws 3"):
        transfer(replace(options, modalities=("nuclei:types=3", "full")))
    with pytest.raises(ConfigError, match="larger than the 135 training patches"):
        transfer(replace(options, batch=1000))
    with pytest.raises(DataError, match="has no array 'ihc'"):
        transfer(replace(options, modalities=("nuclei", "full:ihc")))
    assert not options.out.exists()
