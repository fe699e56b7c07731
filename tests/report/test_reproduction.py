"""The report of a reproduction, from made files: its numbers, its words, what may be missing."""

import base64
import csv
import functools
import hashlib
import json
import re
import shlex
import shutil
import tempfile
from collections.abc import Collection, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from morefromless.report.reproduced.content import LARGE
from morefromless.report.reproduced.was_run import command
from morefromless.report.reproduction import write_report

from morefromless import cli
from morefromless.errors import ConfigError, DataError
from morefromless.experiments import table1, table2, table_s2, table_s3
from morefromless.report.style import save
from morefromless.runs import plain
from tests.report.test_explain_page import HOSTILE, Parsed

ROUGH = "a | b ` <i>c</i> ](http://x) * __d__\n# e"
"""What must not become Markdown."""
ARMS = (
    "asymmetric, independent",
    "asymmetric, shared",
    "symmetric, independent",
    "symmetric, shared",
)
GAIN = 0.0123
PAPER = {
    "store": "nct",
    "size": 224,
    "encoder": "resnet50",
    "views": "table-s1",
    "epochs": 100,
    "batch": 128,
    "lr": 1e-4,
    "warmup": 0.1,
    "epsilon": 1e-8,
    "clip_each": None,
    "precision": "32",
    "primary": "downsample:7",
    "privileged": "full",
    "width": 8192,
    "objective": "vicreg",
    "seed": 0,
}
SMALL = {
    **PAPER,
    "size": 32,
    "encoder": "test_resnet",
    "epochs": 24,
    "batch": 64,
    "lr": 1e-3,
    "width": 256,
}
NCT = {
    "path": "nct",
    "hash": "abc123",
    "side": 224,
    "title": "NCT-CRC-HE-100K",
    "um_per_px": 0.5,
    "classes": list("ABCDEFGHI"),
    "kept": {"train": 99_998, "test": 7180},
    "caveats": [],
}
OWN = {**NCT, "title": "Own patches", "side": 64, "kept": {"train": 4800, "test": 1200}}


def made(
    out: Path,
    scale: str = "paper",
    sides: tuple[int, ...] = (112, 56, 28, 14, 7),
    plan: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    curves: bool = True,
    seeds: int = 4,
    only: Collection[str] = (),
) -> Path:
    """A reproduction of every experiment, or of some, whose numbers are the paper's and `GAIN`."""
    runs = [f"asymmetric-independent-s{seed}" for seed in range(seeds)]
    usual = {**(PAPER if scale == "paper" else SMALL), **(options or {})}
    for seed, name in enumerate(runs):
        record = {
            "key": "k",
            "kind": "pretrain",
            "recipe": 1,
            "options": {**usual, "seed": seed},
            "store_hash": "abc123",
            "steps": 78_100 if scale == "paper" else 1800,
            "versions": {"morefromless": "0.1.0", "torch": "2.12", "python": "3.11"},
            "seconds": 3600.0,
            "device": "cuda:0",
            "threads": 8,
            "resumed": seed == 1,
        }
        _write(out / "runs" / name / "run.json", record)
        (out / "runs" / name / "weights.safetensors").write_bytes(b"")
    every = _experiments(sides, seeds)
    experiments = {name: told for name, told in every.items() if not only or name in only}
    for name, told in experiments.items():
        studies = dict.fromkeys(one["study"] for one in told["contrasts"])
        drawn = [f"{study}/curves.svg" for study in studies] if curves else []
        for path in (
            *drawn,
            *(told["pictures"]),
            *(p for k in told["looks"] for p in k["figures"]),
        ):
            _draw(out / path)
        _write(
            out / "experiments" / f"{name}.json",
            {
                "name": name,
                "about": "What it asks.",
                "rising": [],
                "caveats": [],
                "unbeaten": [],
                "seconds": 1.0,
                "runs": runs,
                "curves": drawn,
                **told,
            },
        )
    _write(
        out / "plan.json",
        {
            "options": {"experiments": ["all"], "scale": scale, "out": str(out)},
            "scale": scale,
            "about": "What the scale is.",
            "protocol": "text",
            "recipe": {"seeds": seeds},
            "store": NCT if scale == "paper" else OWN,
            "experiments": dict.fromkeys(experiments, runs),
            "skipped": {},
            "versions": {"morefromless": "0.1.0", "torch": "2.12", "python": "3.11"},
            "machine": {"processor": "EPYC", "cores": 8, "gpus": ["A6000"]},
            "when": "2026-01-01 00:00:00 +0000",
            **(plan or {}),
        },
    )
    return out


def _experiments(sides: tuple[int, ...], seeds: int) -> dict[str, dict[str, Any]]:
    def number(row: str, column: str, value: float | None, place: str = "") -> dict[str, Any]:
        ours = (0.5 if value is None else value) + GAIN
        spread = 0.01 * (np.arange(seeds) - (seeds - 1) / 2)
        return {
            "row": row,
            "column": column,
            "ours": _interval(ours, 0.02),
            "seeds": [ours + s for s in spread],
            "published": value,
            "place": place if value else "",
        }

    def experiment(
        title: str,
        numbers: list[dict[str, Any]],
        *studies: str,
        on: str = "full",
        looks: Any = (),
        pictures: Any = (),
    ) -> dict[str, Any]:
        return {
            "title": title,
            "numbers": numbers,
            "contrasts": [c for study in studies for c in _contrasts(study, on)],
            "floors": [f for study in studies for f in _floors(study)],
            "looks": list(looks),
            "pictures": list(pictures),
        }

    ones = []
    for px in (224, *sides):
        row = "whole patch" if px == 224 else f"{px} x {px} px"
        told = dict(
            zip(
                ("asymmetric, independent", "symmetric, shared", "supervised"),
                table1.PUBLISHED.get(px, (None,) * 3),
                strict=True,
            )
        )
        ones += [number(row, column, value, "Table 1") for column, value in told.items()]
        other = [("asymmetric", "shared"), ("symmetric", "independent")]
        ones += [
            number(row, f"{kind}, {sharing}", table1.OTHER_SHARING.get((kind, px)), "Table S3")
            for kind, sharing in other
            if px != 224
        ]
    twos = [
        number(
            f"{task}: {seen}",
            f"{learnt} {kind}" + ("" if kind == "supervised" else sharing),
            value if sharing == (", independent" if kind == "asymmetric" else ", shared") else None,
            "Table 2",
        )
        for (task, seen), told in table2.PUBLISHED.items()
        for (learnt, kind), value in zip(table2.COLUMNS, told, strict=True)
        for sharing in (", independent", ", shared")
        if kind != "supervised" or sharing == ", shared"
    ]
    parts = [
        f"{seen}: {arm}"
        for seen in ("down-sampled", "full")
        for arm in ("asymmetric", "symmetric", "supervised")
    ]
    encoders = [
        number(encoder, column, value, "Table S2")
        for encoder, told in list(table_s2.PUBLISHED.items())[:3]
        for column, value in zip(parts, told, strict=True)
    ]
    objectives = [
        number(", ".join(row), column, value, "Table S3")
        for row, told in table_s3.PUBLISHED.items()
        for column, value in zip((p for p in parts if "supervised" not in p), told, strict=True)
    ]
    kinds = ("asymmetric", "trident", "symmetric")
    labels = [
        number(f"{share:.0%} of labels", arm, None) for share, arm in product((1, 0.1, 0.01), ARMS)
    ]
    pairs = [
        number(f"{share:.0%} of pairs", kind, None) for share, kind in product((1, 0.5, 0.2), kinds)
    ]
    sparsest = f"downsample:{sides[-1]}"
    return {
        "few-labels": experiment("Few labels", labels, "few-labels-1", "few-labels-0.1"),
        "few-pairs": experiment("Few pairs", pairs, "few-pairs-1", "few-pairs-0.5"),
        "fig2": experiment(
            "Fig. 2: how alike",
            [],
            "fig2-sparse",
            looks=[_look("fig2/sparse", "cka", "cka-diagonal")],
        ),
        "fig3": experiment(
            "Fig. 3: GradCAM", [], "fig3", looks=[_look("fig3/arms", "gradcam-first")]
        ),
        "fig-s4": experiment("Fig. S4: confusion", [], looks=[_look("fig-s4/masks", "confusion")]),
        "fig-s5": experiment("Fig. S5: stages", [], looks=[_look("fig-s5/arms", "gradcam-stages")]),
        "table1": experiment(
            "Table 1: magnifications", ones, "table1", on=sparsest, pictures=["table1/density.svg"]
        ),
        "table2": experiment(
            "Table 2: nuclei",
            twos,
            "table2",
            on="cell: nuclei:types=6",
            pictures=["table2/transfer.svg"],
        ),
        "table-s2": experiment(
            "Table S2: encoders", encoders, "table-s2-ResNet50", "table-s2-Xception"
        ),
        "table-s3": experiment("Table S3: objectives", objectives, "table-s3-vicreg"),
    }


def _interval(middle: float, half: float, unit: str = "patch") -> dict[str, Any]:
    return {
        "estimate": middle,
        "low": middle - half,
        "high": middle + half,
        "level": 0.95,
        "unit": unit,
        "units": 7180,
        "includes_seeds": True,
        "resamples": 2000,
    }


def _contrasts(study: str, on: str) -> list[dict[str, Any]]:
    told = {
        "asymmetric - symmetric, both shared": (0.08, 0.01, 0.0002, "better"),
        "asymmetric - symmetric, both independent": (0.004, 0.016, 1.0, "no difference shown"),
        "asymmetric shared - supervised": (-0.03, 0.01, 0.04, "worse"),
    }
    return [
        {
            "name": name,
            "on": on,
            "study": study,
            "difference": _interval(middle, half),
            "p": p,
            "verdict": verdict,
        }
        for name, (middle, half, p, verdict) in told.items()
    ]


def _floors(study: str) -> list[dict[str, Any]]:
    own = 0.6 if study.endswith(("-0.1", "Xception")) else 0.7
    told = {
        ("mean-rgb", "downsample:7"): 0.5,
        ("random encoder", "downsample:7"): own,
        ("mean-rgb", "full"): 0.55,
        ("random encoder", "full"): 0.65,
    }
    return [
        {
            "name": name,
            "modality": seen,
            "accuracy": _interval(value, 0.01),
            "accuracies": [value],
            "study": study,
        }
        for (name, seen), value in told.items()
    ]


def _look(folder: str, *stems: str) -> dict[str, Any]:
    table = {
        "title": "CKA of the last layer",
        "header": ["arm", "one", "other"],
        "rows": [["one", "0.91 ± 0.01", "0.42 ± 0.03"]],
        "notes": [],
    }
    return {
        "study": folder.partition("/")[2],
        "primary": "downsample:7",
        "table": "",
        "figures": [f"{folder}/{stem}.svg" for stem in stems],
        "sections": [table],
        "notes": ["Deviations are over combinations of runs."],
    }


def _draw(path: Path) -> None:
    for suffix, content in _drawn().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(suffix).write_bytes(content)


@functools.cache
def _drawn() -> dict[str, bytes]:
    """A figure in every form."""
    figure = Figure(figsize=(8, 3), dpi=60)
    figure.subplots().plot([0, 1])
    with tempfile.TemporaryDirectory() as folder:
        return {path.suffix: path.read_bytes() for path in save(figure, Path(folder) / "figure")}


def _write(path: Path, told: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(told, indent=2, ensure_ascii=False), "utf-8")


def changed(path: Path, **values: Any) -> None:
    """Change keys of a JSON file."""
    _write(path, {**json.loads(path.read_text()), **values})


class Report(Parsed):
    """The page, and its Markdown."""

    def __init__(self, out: Path) -> None:
        write_report(out)
        super().__init__(out / "report.html")
        self.html = (out / "report.html").read_text("utf-8")
        self.markdown = (out / "report.md").read_text("utf-8")

    def says(self, words: str) -> bool:
        """In both."""
        plain = " ".join(self.text.split())
        return words in plain and words in " ".join(self.markdown.split())

    def part(self, anchor: str) -> str:
        """The HTML of one experiment."""
        return self.html.partition(f'<h2 id="{anchor}">')[2].partition("</section>")[0]

    def rows(self, heading: str, table: int = 0) -> list[list[str]]:
        """Cells of one table below a heading of the Markdown, without its header."""
        part = self.markdown.partition(f"## {heading}")[2].partition("\n## ")[0]
        tables = re.findall(r"(?:^\|.*\n)+", part, re.MULTILINE)
        return [
            [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            for line in tables[table].splitlines()[2:]
        ]


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("reports") / "paper")


@pytest.fixture(scope="module")
def report(paper: Path) -> Report:
    return Report(paper)


def test_it_only_reads_what_lies_there(tmp_path: Path) -> None:
    made(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    written = write_report(tmp_path)
    assert written[-2:] == [tmp_path / "report.md", tmp_path / "report.html"]
    after = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert set(written) == after - before.keys()
    assert {path.parent for path in written[:-2]} == {tmp_path / "report"}
    assert all(path.read_bytes() == content for path, content in before.items())
    stems = {path.stem for path in written[:-2]}
    assert stems == {"table1-density", "few-labels", "few-pairs"}
    assert {path.suffix for path in written[:-2]} == {".svg", ".pdf", ".png", ".csv"}


def test_tables_come_first_then_figures_then_questions_of_ours(report: Report) -> None:
    wanted = [
        "table1",
        "table2",
        "table-s2",
        "table-s3",
        "fig2",
        "fig3",
        "fig-s4",
        "fig-s5",
        "few-labels",
        "few-pairs",
    ]
    assert [h["id"] for h in report.all("h2")][: len(wanted)] == wanted
    links = [a["href"] for a in report.all("a") if a["href"].startswith("#")]
    assert links[1:] == [f"#{name}" for name in wanted] + [
        "#about-chance",
        "#about-departures",
        "#about-runs",
    ]


def test_cells_have_ours_the_interval_the_published_one_and_the_difference(report: Report) -> None:
    rows = report.rows("Table 1")
    assert [row[0] for row in rows] == [
        "whole patch",
        "112 × 112 px",
        "56 × 56 px",
        "28 × 28 px",
        "14 × 14 px",
        "7 × 7 px",
    ]
    assert rows[-1][1:] == [
        "78.7 [76.7, 80.7]<br>paper 77.43, Δ +1.2",
        "70.5 [68.5, 72.5]<br>paper 69.26, Δ +1.2",
        "77.8 [75.8, 79.8]<br>paper 76.56, Δ +1.2",
        "78.5 [76.5, 80.5]<br>paper 77.30 (Table S3), Δ +1.2",
        "75.1 [73.1, 77.1]<br>paper 73.83 (Table S3), Δ +1.2",
    ]
    assert rows[0][4:] == ["", ""]  # two whole patches cannot be told apart
    assert rows[1][4:] == ["51.2 [49.2, 53.2]"] * 2


def test_every_published_number_stands_on_the_page_as_it_was_printed(report: Report) -> None:
    flat = {
        "Table 1": [v for told in table1.PUBLISHED.values() for v in told],
        "Table 2": [v for told in table2.PUBLISHED.values() for v in told],
        "Table S2": [v for told in table_s2.PUBLISHED.values() for v in told],
        "Table S3": [v for told in table_s3.PUBLISHED.values() for v in told],
    }
    for heading, values in flat.items():
        text = "\n".join("|".join(row) for row in report.rows(heading))
        for value in values:
            assert f"paper {value * 100:.2f}" in text
            assert f"paper {value * 100:.2f}" in report.part(
                heading.lower().replace(" ", "-", 1).replace("e-1", "e1").replace("e-2", "e2")
            )


def test_html_and_markdown_hold_the_same_cells(report: Report) -> None:
    cells = [cell for row in report.tables["grid"] for cell in row if "[" in cell]
    marked = [
        re.sub(r"<br>|, (?=Δ)| ", "", cell)
        for heading in ("Table 1", "Table 2", "Table S2", "Table S3", "Few labels", "Few pairs")
        for row in report.rows(heading)
        for cell in row[1:]
        if "[" in cell
    ]
    assert [cell.replace(" ", "") for cell in cells] == marked
    assert len(cells) == 28 + 40 + 18 + 16 + 12 + 9


def test_the_papers_columns_come_before_our_controls(report: Report) -> None:
    [header] = re.findall(r"^\|  \| vicreg.*$", report.markdown, re.MULTILINE)
    columns = [one.strip() for one in header.split("|")[2:-1]]
    assert columns[:6] == [
        "vicreg asymmetric, independent",
        "vicreg symmetric, shared",
        "simclr asymmetric, independent",
        "simclr symmetric, shared",
        "tissue supervised",
        "cell supervised",
    ]
    assert all(one.endswith(" (control)") for one in columns[6:])
    assert "our controls" in report.part("table2")
    assert "our controls" not in report.part("few-labels")


def test_rows_that_were_not_run_say_so(tmp_path: Path) -> None:
    report = Report(made(tmp_path, scale="small", sides=(14, 4)))
    rows = {row[0]: row[1:] for row in report.rows("Table 1")}
    assert list(rows) == [
        "whole patch",
        "112 × 112 px",
        "56 × 56 px",
        "28 × 28 px",
        "14 × 14 px",
        "7 × 7 px",
        "4 × 4 px",
    ]
    assert rows["7 × 7 px"] == [
        "not run<br>paper 77.43",
        "not run<br>paper 69.26",
        "not run<br>paper 76.56",
        "",
        "",
    ]
    assert rows["4 × 4 px"] == ["51.2 [49.2, 53.2]"] * 5  # nothing published
    assert report.rows("Table S2")[-1][:2] == ["Xception", "not run<br>paper 76.19"]


@pytest.mark.parametrize(
    ("scale", "plan", "options", "notice"),
    [
        ("paper", {}, {}, "our columns may be compared with its"),
        ("paper", {}, {"encoder": "keras-v1"}, "our columns may be compared with its"),
        ("paper", {}, {"epochs": 10, "batch": 256}, "but not these settings: epochs and batch."),
        ("paper", {"recipe": {"standardise": True}}, {}, "but not these settings: probe."),
        ("paper", {"recipe": None}, {}, "but not these settings: probe."),
        ("paper", {"store": OWN}, {}, "are not to be compared with each other"),
        ("paper", {"store": {**NCT, "side": 96}}, {}, "are not to be compared with each other"),
        (
            "paper",
            {"store": {**NCT, "kept": {"train": 100_000, "test": 6000}}},
            {},
            "are not to be compared with each other",
        ),
        ("small", {}, {}, "are not to be compared with each other"),
        ("small", {"store": NCT}, PAPER, "are not to be compared with each other"),
    ],
)
def test_whether_columns_may_be_compared_stands_at_the_top(
    scale: str, plan: dict[str, Any], options: dict[str, Any], notice: str, tmp_path: Path
) -> None:
    report = Report(made(tmp_path, scale, plan=plan, options=options, only=["table2"]))
    assert report.says(notice)
    assert report.markdown.index(notice) < report.markdown.index("## ")
    assert report.html.index(notice) < report.html.index("<h2")
    little = "which is of another scale or data and says little"
    assert report.says(little) == ("not to be compared" in notice)


def test_the_main_question_is_answered_like_with_like(report: Report) -> None:
    assert report.says(
        "an encoder of 7 × 7 px? Asymmetric less symmetric training, like with like, in points: "
        "+8.0 [+7.0, +9.0] with shared weights (better) and +0.4 [−1.2, +2.0] with independent "
        "weights (no difference shown). In the paper, at 7 × 7 px: +8.0 with shared and +3.6 with "
        "independent weights, of single runs."
    )


def test_contrasts_have_intervals_corrected_p_and_a_verdict(report: Report) -> None:
    assert report.rows("Table 1", 1) == [
        [
            "asymmetric − symmetric, both shared",
            "7 × 7 px",
            "+8.0 [+7.0, +9.0]",
            "\\< 0.001",
            "better",
        ],
        [
            "asymmetric − symmetric, both independent",
            "7 × 7 px",
            "+0.4 [−1.2, +2.0]",
            "1.000",
            "no difference shown",
        ],
        ["asymmetric shared − supervised", "7 × 7 px", "−3.0 [−4.0, −2.0]", "0.040", "worse"],
    ]
    assert report.says("3 contrasts: 1 better, 1 worse, 1 no difference shown")
    strips = re.findall(r'd="M(\S+) 0H(\S+)"/><circle cx="(\S+)"', report.part("table1"))
    wanted = [(7 / 9, 1, 8 / 9), (-1.2 / 9, 2 / 9, 0.4 / 9), (-4 / 9, -2 / 9, -3 / 9)]
    np.testing.assert_allclose(np.array(strips, float), 100 * np.array(wanted), atol=0.06)
    assert "Holm-corrected for the 3 contrasts;" in report.part("table1")
    assert "Holm-corrected for the 3 contrasts of each study;" in report.part("table-s2")


def test_few_labels_say_nothing_of_supervised_arms_which_saw_all(report: Report) -> None:
    rows = report.rows("Few labels", 1)
    assert [row[1] for row in rows] == ["whole patch, 100% of labels"] * 2 + [
        "whole patch, 10% of labels"
    ] * 2
    assert not any("supervised" in row[0] for row in rows)
    assert "those with supervised arms, which its table has not, among them" in report.markdown


def test_experiments_that_only_look_repeat_no_contrasts(report: Report) -> None:
    for name in ("fig2", "fig3", "fig-s4", "fig-s5"):
        assert "contrast" not in report.part(name)
        assert "Floors" not in report.part(name)
        assert "curves" not in report.part(name)
        assert report.part(name).count("<img") == (2 if name == "fig2" else 1)
    assert "0.91 ± 0.01" in report.part("fig2")
    assert "Deviations are over combinations of runs." in report.part("fig2")
    assert "0.91 ± 0.01" not in report.part("fig3")  # its table is of CKA


def test_floors_of_every_study_stand_once_where_they_are_alike(report: Report) -> None:
    assert report.rows("Table S2", 2) == [
        ["7 × 7 px, ResNet50", "50.0 [49.0, 51.0]", "70.0 [69.0, 71.0]"],
        ["7 × 7 px, Xception", "50.0 [49.0, 51.0]", "60.0 [59.0, 61.0]"],
        ["whole patch", "55.0 [54.0, 56.0]", "65.0 [64.0, 66.0]"],
    ]
    assert [row[0] for row in report.rows("Few labels", 2)] == [
        "7 × 7 px, 100% of labels",
        "7 × 7 px, 10% of labels",
        "whole patch",
    ]


def test_where_no_arm_is_above_a_floor_is_said_at_the_top_and_below(tmp_path: Path) -> None:
    out = made(tmp_path, only=("table1", "few-labels", "fig2"))
    told = {
        "table1": [("downsample:7", "table1"), ("full", "table1")],
        "few-labels": [
            ("downsample:7", "few-labels-1"),
            ("full", "few-labels-1"),
            ("full", "few-labels-0.1"),
        ],
        "fig2": [("full", "fig2")],
    }
    for name, some in told.items():
        held = [{"modality": seen, "task": "", "study": study} for seen, study in some]
        changed(out / "experiments" / f"{name}.json", unbeaten=held)
    report = Report(out)
    top = report.markdown.partition("## Table 1")[0].partition("To be borne in mind")[2]
    for name, said in {
        "Table 1": "Table 1: no arm is above the highest floor of 7 × 7 px and whole patch. ",
        "Few labels": "Few labels: no arm is above the highest floor of 7 × 7 px (100% of labels) "
        "and whole patch. ",
    }.items():
        assert report.says(said)
        assert said in top
        assert said in report.markdown.partition(f"## {name}")[2]
    assert "Fig. 2: no arm" not in report.markdown


def test_chance_in_the_paper_and_between_our_seeds(report: Report) -> None:
    assert report.rows("How far chance goes") == [
        ["whole patches, independent weights", "85.87 (Table 1)", "86.72 (Table S3)", "0.8"],
        ["whole patches, supervised", "93.70 (Table 1)", "94.51 (Table 2)", "0.8"],
        ["whole patches, shared weights", "88.55 (Table 1)", "88.46 (Table S3)", "0.1"],
    ]
    spread = 100 * np.std([-0.015, -0.005, 0.005, 0.015], ddof=1)
    ours = report.rows("How far chance goes", 1)
    assert ours[0] == ["Table 1: magnifications", "28", f"{spread:.1f}", f"{spread:.1f}"]
    assert "the standard deviation is 1.3 points (the median of 28 cells" in report.part("table1")
    drawn = np.random.default_rng(0).normal(size=(2, 200_000))
    sd = np.mean([0.85, 0.81, 0.09]) / np.abs(drawn[0] - drawn[1]).mean()
    assert f"a standard deviation of about {sd:.1f} points" in report.markdown
    assert f"of two of them one of {sd * np.sqrt(2):.1f}" in report.markdown


def test_one_seed_says_that_chance_between_seeds_is_not_known(tmp_path: Path) -> None:
    report = Report(made(tmp_path, seeds=1, only=["table1"]))
    assert "so chance between seeds is not known" in report.part("table1")
    assert len(re.findall("Ours: standard deviation", report.html)) == 0
    assert report.says("a single run, in brackets")


def test_learning_curves_and_what_was_still_rising(tmp_path: Path) -> None:
    made(tmp_path)
    changed(
        tmp_path / "experiments/table1.json",
        rising=["asymmetric, shared on downsample:7", "supervised on full"],
    )
    report = Report(tmp_path)
    assert report.part("table1").count("<img") == 2
    assert report.part("table-s2").count("<img") == 2  # of both studies
    assert report.part("few-labels").count("<img") == 2  # every share has the same runs
    wanted = "Still rising when training ended: asymmetric, shared on 7 × 7 px; supervised on full."
    assert report.says(wanted)
    assert "was still rising when training ended" in report.part("table2")


def test_without_curves_whether_arms_were_rising_is_not_known(tmp_path: Path) -> None:
    report = Report(made(tmp_path, curves=False, only=["table1"]))
    assert report.part("table1").count("<img") == 1
    assert report.part("table1").count("whether arms had finished rising is not known") == 1


@pytest.mark.usefixtures("report")
def test_the_figures_numbers_are_ours_and_the_papers(paper: Path) -> None:
    with (paper / "report/table1-density.csv").open() as file:
        rows = list(csv.DictReader(file))
    told = {(r["source"], r["kind"], r["sharing"], float(r["side_px"])): r for r in rows}
    assert len(told) == len(rows) == 28 + 18
    for px, values in table1.PUBLISHED.items():
        arms = [("asymmetric", "independent"), ("symmetric", "shared"), ("supervised", "")]
        for arm, value in zip(arms, values, strict=True):
            assert float(told["paper", *arm, px]["accuracy"]) == value
            ours = told["ours", *arm, px]
            np.testing.assert_allclose(
                [float(ours[key]) for key in ("accuracy", "low", "high")],
                [value + 0.0123, value - 0.0077, value + 0.0323],
            )
    with (paper / "report/few-labels.csv").open() as file:
        shares = {(float(r["per_cent"]), r["kind"], r["sharing"]) for r in csv.DictReader(file)}
    assert shares == {(share, *arm.split(", ")) for share, arm in product((100, 10, 1), ARMS)}
    with (paper / "report/few-pairs.csv").open() as file:
        assert {r["kind"] for r in csv.DictReader(file)} == {"asymmetric", "trident", "symmetric"}


def test_a_whole_patch_lies_where_the_encoder_sees_it(tmp_path: Path) -> None:
    made(tmp_path, scale="small", sides=(14, 7), only=["table1"])  # 64 px, brought to 32
    write_report(tmp_path)
    with (tmp_path / "report/table1-density.csv").open() as file:
        ours = {float(r["side_px"]) for r in csv.DictReader(file) if r["source"] == "ours"}
    assert ours == {32, 14, 7}


def test_what_was_run(tmp_path: Path) -> None:
    made(
        tmp_path,
        plan={
            "options": {
                "experiments": ["table1", "fig2"],
                "scale": "paper",
                "store": "my stores/nct",
                "sides": [28, 7],
                "seeds": None,
                "plan": True,
                "out": "runs/reproduce",
            }
        },
        only=["table2"],
    )
    path = tmp_path / "runs/asymmetric-independent-s3/run.json"
    changed(path, versions={"morefromless": "0.2.0", "torch": "2.12"}, store_hash="other")
    metered = [
        {"joules": {"gpu 0": 5.4e6, "intel-rapl:0": 1.8e6}, "seconds": 3600.0},
        {"joules": {"gpu 0": 3.6e6}, "seconds": 1800.0},
    ]
    (tmp_path / "energy.jsonl").write_text("".join(json.dumps(one) + "\n" for one in metered))
    facts = dict(Report(tmp_path).rows("What was run"))
    assert facts["scale"] == "paper: What the scale is."
    assert facts["patches"] == (
        "NCT-CRC-HE-100K; 99,998 training and 7,180 test patches of 9 classes"
    )
    assert facts["data hash"] == "abc123; some runs are of other data (other)"
    assert facts["runs"] == "4"
    assert facts["seeds"] == "0, 1, 2 and 3"
    assert facts["training"] == "4.0 hours in all"
    assert facts["processor"] == "EPYC, 8 cores"
    assert facts["GPUs"] == "A6000"
    assert facts["energy"] == (
        "3 kWh by the whole machine in the 1.5 hours that were metered "
        "(gpu 0 2.5, intel-rapl:0 0.5)"
    )
    assert facts["versions"] == "morefromless 0.1.0 and 0.2.0; torch 2.12; python 3.11"
    assert facts["last command"] == (
        "mfl reproduce table1 fig2 --scale paper --store 'my stores/nct' --sides 28 7"
    )
    runs = Report(tmp_path).rows("What was run", 1)
    assert runs[1] == ["asymmetric-independent-s1", "78,100", "1.0 hours", "cuda:0", "yes"]


def test_the_last_command_parses_into_the_same_options(tmp_path: Path) -> None:
    typed = [
        "reproduce",
        "table1",
        "few-pairs",
        "--scale",
        "smoke",
        "--out",
        str(tmp_path / "a b"),
        "--seeds",
        "2",
        "--sides",
        "14",
        "7",
        "--standardise",
        "True",
    ]
    options = cli._parsed(list(typed), "reproduce")
    again = shlex.split(command(plain(options)))
    assert cli._parsed(again[1:], "reproduce") == options


def test_without_records_energy_and_recipe_the_page_says_what_is_not_known(tmp_path: Path) -> None:
    made(tmp_path, plan={"recipe": None}, only=["table2"])
    shutil.rmtree(tmp_path / "runs")
    report = Report(tmp_path)
    facts = dict(report.rows("What was run"))
    assert facts["runs"] == "4, of which 4 have no record any more"
    assert {facts[k] for k in ("seeds", "training", "trained on", "settings")} == {"not recorded"}
    assert facts["energy"] == "not told by this machine"
    assert ["epochs", "100", "not recorded"] in report.rows("What differs from the paper")
    assert report.rows("What was run", 1)[0][2] == "record is gone"


def test_what_differs_has_only_settings_that_do(tmp_path: Path) -> None:
    report = Report(made(tmp_path / "a", options={"epochs": 10}, only=["table2"]))
    assert report.rows("What differs from the paper") == [
        ["epochs", "100", "10"],
        ["runs of each arm", "one, as far as is told", "4"],
    ]
    report = Report(made(tmp_path / "b", scale="small", sides=(14, 7), only=["table2"]))
    rows = {row[0]: row[1:] for row in report.rows("What differs from the paper")}
    assert rows["encoder"] == ["ResNet-50", "test_resnet"]
    assert rows["steps of self-supervised training"] == ["78,100", "1,800"]
    assert rows["patches"][1] == "Own patches: 4,800 and 1,200 of 9 classes, 64 px, 0.5 µm/px"
    assert "warm-up in epochs" not in rows


def test_encoders_of_table_s2_are_no_departure(tmp_path: Path) -> None:
    made(tmp_path, only=["table2", "table-s2"])
    own = tmp_path / "runs/xception-s0"
    shutil.copytree(tmp_path / "runs/asymmetric-independent-s0", own)
    changed(own / "run.json", options={**PAPER, "encoder": "legacy_xception"})
    runs = json.loads((tmp_path / "experiments/table-s2.json").read_text())["runs"]
    changed(tmp_path / "experiments/table-s2.json", runs=[*runs, own.name])
    report = Report(tmp_path)
    assert [row[0] for row in report.rows("What differs from the paper")] == ["runs of each arm"]
    assert report.says("5 runs with 4 seeds, 5.0 hours of training")


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (
            {},
            {
                "VICReg's weights": "25 MSE, 12.5",
                "down-sampling": "area averages",
                "augmentations": "table-s1",
                "ResNet-50": "v1.5",
                "Adam's ε": "1e-8",
                "gradient clipping": "none",
            },
        ),
        (
            {
                "objective": "vicreg:authors",
                "primary": "downsample:7,interpolation=point",
                "views": "authors",
                "encoder": "keras-v1",
                "epsilon": 1e-7,
                "clip_each": 1.0,
            },
            {
                "VICReg's weights": "50 MSE, 25 a branch",
                "down-sampling": "interpolation=point",
                "augmentations": "as the code",
                "ResNet-50": "keras-v1",
                "Adam's ε": "1e-7",
                "gradient clipping": "at norm 1",
            },
        ),
        (
            {"objective": "simclr", "primary": "nuclei:raw,types=6"},
            {"SimCLR's negatives": "2N − 2", "masks of nuclei": "nuclei:raw"},
        ),
        ({"primary": "nuclei:types=6"}, {"masks of nuclei": "spread over 0 to 255"}),
    ],
)
def test_text_or_code_is_named_for_what_was_used(
    options: dict[str, Any], wanted: dict[str, str], tmp_path: Path
) -> None:
    report = Report(made(tmp_path, options=options, only=["table2"]))
    rows = {row[0]: row[-1] for row in report.rows("What differs from the paper", 1)}
    assert {matter for matter, used in wanted.items() if used in rows[matter]} == set(wanted)
    assert ("SimCLR's negatives" in rows) == (options.get("objective") == "simclr")
    assert ("masks of nuclei" in rows) == ("nuclei" in str(options.get("primary")))


def test_experiments_without_counterpart_and_from_outside_are_shown(tmp_path: Path) -> None:
    made(tmp_path, only=["table1", "few-pairs"])
    told = json.loads((tmp_path / "experiments/few-pairs.json").read_text())
    _write(
        tmp_path / "experiments/my_package.mine:Mine.json",
        {**told, "name": "my_package.mine:Mine", "title": "Mine", "curves": []},
    )
    report = Report(tmp_path)
    assert [h["id"] for h in report.all("h2")][2] == "my-package-mine-Mine"  # after all of ours
    assert not re.search(r"paper \d|Δ|control", report.part("my-package-mine-Mine"))


def hostile(out: Path) -> Path:
    """A reproduction whose every word means to be markup."""
    evil = HOSTILE + ROUGH
    made(
        out,
        plan={
            "store": {**OWN, "title": evil, "classes": [evil], "caveats": [evil], "hash": evil},
            "skipped": {evil: evil},
            "about": evil,
            "protocol": evil,
            "when": evil,
            "machine": {"processor": evil, "cores": 1, "gpus": [evil]},
            "experiments": {evil.replace("/", "-"): ["none"]},
            "recipe": {evil: evil},
        },
        options={"encoder": evil, "objective": f"vicreg:{evil}", "views": evil},
    )
    path = out / "experiments/table2.json"
    told = json.loads(path.read_text())
    for one in told["numbers"]:
        one.update(row=one["row"] + evil, column=one["column"] + evil)
    for one in told["contrasts"]:
        one.update(name=evil, on=evil, verdict=evil, study=evil)
    for one in told["floors"]:
        one.update(name=evil, modality=evil, study=evil)
    changed(
        path,
        **{
            **told,
            "title": evil,
            "about": evil,
            "rising": [evil],
            "caveats": [evil],
            "curves": [f"{HOSTILE}.svg"],
        },
    )
    return out


def test_names_cannot_break_out(tmp_path: Path) -> None:
    report = Report(hostile(tmp_path))
    assert len(report.scripts) == 2
    assert all(image["src"].startswith("data:image/") for image in report.all("img"))
    assert not [
        name
        for name, attributes in report.tags
        for key in attributes
        if key.startswith("on") or key == "style" or name == "i"
    ]
    tags = re.findall(r"(?<!\\)<[^ ]*?>", report.markdown)
    assert set(tags) <= {"<br>", "<details>", "<summary>", "</summary>", "</details>"}
    assert "](http" not in report.markdown
    for table in re.findall(r"(?:^\|.*\n)+", report.markdown, re.MULTILINE):
        widths = {len(re.split(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(widths) == 1
    assert not re.search(r"^# e", report.markdown, re.MULTILINE)


def test_the_policy_admits_this_script_and_style_only(report: Report) -> None:
    [policy] = [m["content"] for m in report.all("meta") if "http-equiv" in m]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    for kind, [text] in (("script-src", report.scripts[1:]), ("style-src", report.styles)):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules[kind] == f"'sha256-{digest}'"
        assert not re.search(r"https?://|@import|innerHTML|eval\(", text)


def test_figures_stand_in_the_page_and_link_to_their_other_forms(
    report: Report, paper: Path
) -> None:
    images = report.all("img")
    assert len(images) == len(set(re.findall(r"\]\((.*?\.svg)\)", report.markdown)))
    for image in images:
        kind, data = re.fullmatch(r"data:image/([a-z+]+);base64,(.*)", image["src"]).groups()
        assert kind == "svg+xml"
        assert b"<svg" in base64.b64decode(data)
        assert len(image["alt"]) > 20
    files = {a["href"] for a in report.all("a") if not a["href"].startswith("#")}
    assert {"report.md", "report/table1-density.csv", "fig2/sparse/cka.pdf"} <= files
    for one in (*files, *re.findall(r"\]\((.*?)\)", report.markdown)):
        assert (paper / one).is_file()


def test_a_large_drawing_is_shown_as_pixels(tmp_path: Path) -> None:
    made(tmp_path, only=["fig3"])
    path = tmp_path / "fig3/arms/gradcam-first.svg"
    path.write_text(path.read_text() + f"<!-- {'x' * LARGE} -->")
    report = Report(tmp_path)
    assert "](fig3/arms/gradcam-first.png)" in report.markdown
    assert "data:image/png;base64," in report.part("fig3")
    assert 'href="fig3/arms/gradcam-first.svg"' in report.part("fig3")


def test_figures_that_were_removed_are_named(tmp_path: Path) -> None:
    made(tmp_path)
    for path in [*tmp_path.glob("table1/curves.*"), *tmp_path.glob("fig2/sparse/cka.*")]:
        path.unlink()
    report = Report(tmp_path)
    for name in ("table1/curves.svg", "fig2/sparse/cka.svg"):
        assert report.says(f"The figure {name} is gone; run mfl reproduce again")
    assert report.part("fig2").count("<img") == 1


def test_nothing_from_outside_the_folder_is_shown(tmp_path: Path) -> None:
    (tmp_path / "secret.svg").write_text("<svg>secret</svg>")
    out = made(tmp_path / "out", only=["table1"])
    changed(out / "experiments/table1.json", curves=["../secret.svg", "plan.json"])
    report = Report(out)
    assert report.says("The figure plan.json is gone")  # no picture
    assert report.says("The figure ../secret.svg is gone")
    assert base64.b64encode(b"<svg>secret</svg>").decode() not in report.html


def test_encoders_that_have_no_figure_say_so(tmp_path: Path) -> None:
    made(tmp_path, only=["fig3"])
    told = json.loads((tmp_path / "experiments/fig3.json").read_text())["looks"]
    changed(tmp_path / "experiments/fig3.json", looks=[{**told[0], "figures": []}])
    assert Report(tmp_path).says("Encoders of 7 × 7 px have no figure; without feature maps")


@pytest.mark.parametrize("there", [True, False])
def test_nothing_is_finished_yet(there: bool, tmp_path: Path) -> None:
    made(tmp_path, plan={"skipped": {"table2": "it holds no nuclei."}})
    shutil.rmtree(tmp_path / "experiments")
    if there:
        (tmp_path / "experiments").mkdir()
    (tmp_path / "runs/asymmetric-independent-s0/weights.safetensors").unlink()
    report = Report(tmp_path)
    assert report.says("No experiment is finished yet.")
    assert report.says("multi-magnification distillation is not finished: 3 of 4 runs are done.")
    assert report.says("table2 is left out: it holds no nuclei.")
    assert report.says("0 experiments at scale paper")
    assert not (tmp_path / "report").exists()


def test_a_folder_without_a_reproduction_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConfigError, match=r"holds no reproduction \(plan.json is missing\)"):
        write_report(tmp_path)
    assert cli.run(["report", str(tmp_path)]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"mfl report: {tmp_path} holds no reproduction")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ['{"title": ', "[]", "{}", "null", "\udcff"])
@pytest.mark.parametrize("name", ["plan.json", "experiments/table1.json", "energy.jsonl"])
def test_a_damaged_file_is_one_sentence(
    name: str, damage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made(tmp_path, only=["table1"])
    (tmp_path / name).write_bytes(damage.encode("utf-8", "surrogateescape"))
    with pytest.raises(DataError, match=re.escape(str(tmp_path / name)) + " is damaged"):
        write_report(tmp_path)
    assert cli.run(["report", str(tmp_path)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not (tmp_path / "report.html").exists()


def test_a_damaged_record_of_a_run_is_one_sentence(tmp_path: Path) -> None:
    made(tmp_path, only=["table1"])
    path = tmp_path / "runs/asymmetric-independent-s0/run.json"
    path.write_text("{}")
    with pytest.raises(ConfigError, match=re.escape(f"{path} is damaged")):
        write_report(tmp_path)


def test_the_command_names_both_files(paper: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["report", str(paper)]) == 0
    said = capsys.readouterr().out
    assert str(paper / "report.html") in said
    assert str(paper / "report.md") in said


def test_the_last_command_says_no_and_nothing_too() -> None:
    told = {
        "experiments": ["all"],
        "sides": [],
        "seeds": None,
        "standardise": False,
        "gpus": 0,
        "probe_every": 0,
        "cluster": "none",
    }
    assert command(told) == "mfl reproduce all --standardise False --gpus 0 --probe-every 0"
