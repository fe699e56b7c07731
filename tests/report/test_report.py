"""`mfl report`: the page of a reproduction and of a comparison, from handmade folders."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from morefromless import cli, experiments, files, report
from morefromless.errors import ConfigError
from morefromless.experiments import experiment_names
from morefromless.report.content import CellFile, ExperimentFile
from morefromless.report.folders import VALIDATION_FILE
from morefromless.report.parts import build_experiment_section
from morefromless.report.report import write_overview, write_report
from morefromless.report.study import write_study
from tests.report.handmade import (
    HOSTILE,
    hostile,
    interval,
    reproduction,
    results,
    summary,
    two_partners,
)
from tests.report.test_explain_page import Parsed


class Page(Parsed):
    """The page and its Markdown."""

    def __init__(self, folder: Path) -> None:
        write_report(folder)
        super().__init__(folder / "report.html")
        self.html = (folder / "report.html").read_text("utf-8")
        self.markdown = (folder / "report.md").read_text("utf-8")

    def has(self, words: str) -> bool:
        """Whether both contain the text."""
        return all(words in " ".join(text.split()) for text in (self.text, self.markdown))

    def rows(self, heading: str, table: int = 0) -> list[list[str]]:
        """Cells of one table below a heading of the Markdown, without its header."""
        part = self.markdown.partition(f"## {heading}")[2].partition("\n## ")[0]
        tables = re.findall(r"(?:^\|.*\n)+", part, re.MULTILINE)
        return [
            [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            for line in tables[table].splitlines()[2:]
        ]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    return Page(reproduction(tmp_path_factory.mktemp("reproduction")))


def test_report_code_names_no_experiment() -> None:
    names = re.compile("|".join(rf"\b{re.escape(name)}\b" for name in experiment_names()))
    folder = Path(report.__file__).parent
    files = [p for p in folder.rglob("*") if p.suffix in (".py", ".jinja", ".css", ".js")]
    assert files
    assert [str(p) for p in files if names.search(p.read_text("utf-8"))] == []
    assert Path(experiments.__file__).parent not in [p.parent for p in files]


def test_encoders_with_other_partners_have_separate_cells(tmp_path: Path) -> None:
    two_partners(results()).save(tmp_path)
    markdown = Page(tmp_path).markdown
    (row,) = re.findall(r"^\| whole patch \|.*$", markdown, re.MULTILINE)
    assert "82.0" in row
    assert "92.0" in row
    assert "asymmetric, shared, with 14 × 14 px" in markdown


def test_modalities_of_equal_side_have_separate_rows(tmp_path: Path) -> None:
    plain = results()
    spec = "downsample:7,point"
    extra = [
        summary(replace(s.condition, modality=spec), (0.61, 0.63)) for s in plain.summaries[:2]
    ]
    config = replace(plain.config, primary=("downsample:7", spec))
    replace(plain, config=config, summaries=[*plain.summaries, *extra]).save(tmp_path)
    rows = Page(tmp_path).rows("7 × 7 px and 7 × 7 px, point with whole patch")
    assert [(title, cell[:4]) for title, cell, *_ in rows] == [
        ("7 × 7 px", "79.0"),
        ("7 × 7 px, point", "62.0"),
    ]


def test_curves_of_an_earlier_study_are_not_used(tmp_path: Path) -> None:
    curves = pd.DataFrame({"run": ["r"], "step": [10], "accuracy": [0.5]})
    replace(results(), curves=curves).save(tmp_path)
    results().save(tmp_path)
    assert Page(tmp_path).has("No learning curves were recorded")


def test_results_are_next_to_published_values(page: Page) -> None:
    assert page.rows("Table 9") == [
        ["7 × 7 px", "79.0 [77.0, 81.0]<br>paper 77.43, Δ +1.6", "71.0 [69.0, 73.0]"],
        ["14 × 14 px", "not run <br>paper 80.00", ""],
    ]
    assert page.has("What it says.")


def test_every_study_has_all_floor_columns(tmp_path: Path) -> None:
    """The rows of a study without the last floor were shorter than the table's header."""
    plain = results()
    fewer = [s for s in plain.summaries if s.condition.arm != "random encoder"]
    cell = CellFile(row="a", column="b", study="all", condition=plain.summaries[0].condition)
    file = ExperimentFile(
        name="x", title="x", about="", studies={"few": "few", "all": "all"}, cells=[cell]
    )
    studies = {"few": replace(plain, summaries=fewer), "all": plain}
    floors = build_experiment_section(file, studies, tmp_path).floors
    assert floors is not None
    assert floors.header == ("of", "majority", "random encoder")
    assert [len(row) for row in floors.rows] == [3, 3]


def test_contrasts_and_floors(page: Page) -> None:
    assert page.rows("Table 9", 1) == [
        [
            "asymmetric − symmetric, both shared",
            "tissue: 7 × 7 px, vicreg",
            "+8.0 [+7.0, +9.0]",
            "\\< 0.001",
            "better",
        ]
    ]
    assert page.rows("Table 9", 2) == [
        ["tissue: 7 × 7 px", "20.0 [18.0, 22.0]", "50.0 [48.0, 52.0]"]
    ]


def test_chance_departures_and_provenance(page: Page) -> None:
    assert page.rows("Variation between runs", 0) == [["whole patch", "85.87 and 86.12", "0.2"]]
    assert page.rows("Variation between runs", 1) == [["Table 9: elsewhere", "2", "1.4", "1.4"]]
    assert page.rows("Differences from the paper") == [["epochs", "100", "24"]]
    facts = dict(page.rows("What was run"))
    assert facts["runs"] == "2, seeds 0 and 1"
    assert facts["training"] == "2.0 hours in total"
    assert facts["processor"] == "EPYC, 8 cores"
    assert facts["data"] == "Own patches, hash abc123"
    assert facts["versions"].startswith("torch 2.12")
    runs = page.rows("What was run", 1)
    assert runs[1] == ["asymmetric-shared-s1", "1,800", "1.0 hours", "cuda:0", "yes"]


def test_unfinished_and_incomparable_parts_are_stated(page: Page, tmp_path: Path) -> None:
    assert page.has("Later is not finished.")
    assert page.has("masks is skipped: it holds no nuclei.")
    assert page.has("Different from the paper: epochs.")
    comparable = Page(reproduction(tmp_path, departures=[]))
    assert comparable.has("Data, network and settings are those of the paper.")


def test_comparison_has_a_page(tmp_path: Path) -> None:
    results(("tissue", "cell")).save(tmp_path)
    page = Page(tmp_path)
    assert page.rows("7 × 7 px with whole patch")[0][:2] == [
        "tissue: 7 × 7 px",
        "79.0 [77.0, 81.0]",
    ]
    assert not re.search(r"paper \d|our controls", page.html)


def test_validation_names_both_stores(tmp_path: Path) -> None:
    study = results()
    cohort = replace(study.data, title="cohort", patches={"train": 0, "val": 0, "test": 45})
    replace(study, data=cohort).save(tmp_path)
    files.write_text(tmp_path / VALIDATION_FILE, "Tables.")
    page = Page(tmp_path)
    assert page.has("External validation: ")
    assert page.has(f" on {study.config.store}, evaluated on cohort: 45 test patches at ")
    assert not page.has("mfl compare")
    assert not page.has("0 training")
    assert f'href="{VALIDATION_FILE}"' in page.html


def test_marks_are_explained_on_the_page(tmp_path: Path) -> None:
    plain = results()
    summaries = [replace(s, head=s.condition.arm == "supervised") for s in plain.summaries]
    replace(plain, summaries=summaries).save(tmp_path)
    page = Page(tmp_path)
    assert page.has("76.0 *")
    assert page.has("evaluated with the encoder's own head")


def test_added_metric_is_in_the_report(tmp_path: Path) -> None:
    page = Page(reproduction(tmp_path, results(top_3=0.9123)))
    assert page.has("top 3")
    [first, *_] = page.rows("Table 9", 3)
    assert first[1:] == ["78.0", "77.0", "0.125", "91.2"]


def test_names_are_escaped(tmp_path: Path) -> None:
    page = Page(
        reproduction(
            tmp_path,
            hostile(),
            about=HOSTILE,
            command=HOSTILE,
            titles={"elsewhere": HOSTILE, "later": HOSTILE},
            skipped={HOSTILE: HOSTILE},
            departures=[(HOSTILE, HOSTILE, HOSTILE)],
            repeated={HOSTILE: [0.5, 0.6]},
            machine={"processor": HOSTILE, "cores": 1, "gpus": [HOSTILE]},
        )
    )
    assert len(page.scripts) == 2
    assert page.all("img") == []
    assert not [key for _, attributes in page.tags for key in attributes if key.startswith("on")]
    prose = re.sub(r"^    .*$", "", page.markdown, flags=re.MULTILINE)  # the command is code
    tags = re.findall(r"(?<!\\)<[^ ]*?>", prose)
    assert set(tags) <= {"<br>", "<details>", "<summary>", "</summary>", "</details>"}
    assert "](http" not in prose
    for table in re.findall(r"(?:^\|.*\n)+", page.markdown, re.MULTILINE):
        assert len({len(re.split(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1


def test_nothing_is_finished_yet(tmp_path: Path) -> None:
    reproduction(tmp_path)
    shutil.rmtree(tmp_path / "experiments")
    assert Page(tmp_path).has("Table 9: elsewhere is not finished.")


def test_missing_encoder_is_a_cell_not_run(tmp_path: Path) -> None:
    plain = results()
    reproduction(tmp_path, plain)
    replace(plain, summaries=plain.summaries[1:]).save(tmp_path / "study")
    assert Page(tmp_path).rows("Table 9")[0][1] == "not run <br>paper 77.43"


def test_folder_without_results_is_refused_in_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["report", str(tmp_path)]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"mfl report: {tmp_path} holds no results")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "runs").mkdir()
    assert cli.run(["report", str(tmp_path)]) == 2
    assert "mfl compare has not written them yet" in capsys.readouterr().err


@pytest.mark.parametrize("damage", [b'{"title": ', b"[]", b"{}", b"null", b"\xff"])
@pytest.mark.parametrize("name", ["plan.json", "experiments/elsewhere.json", "study/results.json"])
def test_damaged_file_is_refused_in_one_sentence(name: str, damage: bytes, tmp_path: Path) -> None:
    reproduction(tmp_path)
    (tmp_path / name).write_bytes(damage)
    with pytest.raises(ConfigError, match=re.escape(str(tmp_path / name)) + " is damaged"):
        write_report(tmp_path)
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize(
    ("name", "old", "new", "reason"),
    [
        ("experiments/elsewhere.json", '"study": "study",', '"study": "other",', "study 'other'"),
        ("plan.json", '"later": "Later"', '"never": "Later"', "'later' has no title"),
    ],
)
def test_inconsistent_files_are_refused(
    name: str, old: str, new: str, reason: str, tmp_path: Path
) -> None:
    reproduction(tmp_path)
    path = tmp_path / name
    path.write_text(new.join(path.read_text().rsplit(old, 1)))
    with pytest.raises(ConfigError, match=reason):
        write_report(tmp_path)


def test_all_data_are_named_and_shared_runs_counted_once(tmp_path: Path) -> None:
    first = results()
    second = replace(
        first,
        data=replace(first.data, title="Other patches", hash="def456"),
        runs=[replace(run, seed=seed) for run, seed in zip(first.runs, (2, 10), strict=True)],
    )
    first.save(tmp_path / "a")
    second.save(tmp_path / "b")
    page = Page(tmp_path)
    facts = dict(page.rows("What was run"))
    assert facts["data"] == "Own patches, hash abc123; Other patches, hash def456"
    assert facts["classes"] == "tissue: 2"
    assert facts["runs"] == "2, seeds 2 and 10"
    assert page.has("2 comparisons of 2 runs.")


def test_headline_states_task_and_objective(tmp_path: Path) -> None:
    several = results(("tissue", "cell"))
    config = replace(several.config, objectives=("vicreg", "simclr"))
    replace(several, config=config).save(tmp_path)
    page = Page(tmp_path)
    assert page.has("both shared, on tissue: 7 × 7 px, vicreg: +8.0 points")
    assert page.has("both shared, on cell: 7 × 7 px, vicreg: +8.0 points")


def test_contrast_axis_ends_at_its_label(tmp_path: Path) -> None:
    plain = results()
    wide = [replace(c, difference=interval(0.004, 0.0104)) for c in plain.contrasts]
    replace(plain, contrasts=wide).save(tmp_path)
    assert "<span>+1.4</span>" in Page(tmp_path).html  # its bar reaches the end at 1.44 points


def test_overview_links_to_the_files_of_its_studies(tmp_path: Path) -> None:
    for name in ("positive", "negative"):
        write_study(results(), tmp_path / name)
    path = write_overview(tmp_path, [tmp_path / "positive", tmp_path / "negative"], title="Two")
    page = Parsed(path)
    assert path.name == "index.html"
    assert page.text.count("asymmetric − symmetric, both shared") == 2
    addresses = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    files = [a for a in addresses if a and not a.startswith(("#", "data:"))]
    assert {"positive/report.html", "negative/results.tex", "negative/contrasts.csv"} <= {*files}
    assert all((tmp_path / file).is_file() for file in files)
    assert write_report(tmp_path)[-1] == tmp_path / "report.html"  # works for any such folder
