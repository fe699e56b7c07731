"""The documentation is correct: links, command lines, options, and the README's Python."""

import os
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from importlib.metadata import PathDistribution
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pandas as pd
import pytest
from hatchling import build
from PIL import Image

from morefromless import cli
from morefromless.cli import COMMANDS
from morefromless.data.store import Store
from morefromless.evaluation.intervals import Interval

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
LINK = re.compile(r"\]\((?!https?:|mailto:)([^)\s]+)\)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
HEADING = re.compile(r"^#+ (.*)$", re.M)
GLOBAL_OPTIONS = {"--help", "--version", "--tyro-print-completion"}
"""Options of `mfl` without a command."""
OLD_COMMANDS = {"pretrain", "supervise", "transfer"}
"""Commands of earlier versions, which the changelog may name."""


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for link in LINK.findall(prose(page)):
        path, _, anchor = link.partition("#")
        if path.startswith("live/"):  # built with the site, whose test checks it
            continue
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_command_lines_parse(page: Path) -> None:
    for line in command_lines(page):
        words = shlex.split(line, comments=True)
        try:
            options = cli._parse(words[1:], words[1])
        except SystemExit as error:
            pytest.fail(f"{line} ends with exit code {error.code}")
        assert type(options) is COMMANDS[words[1]].config, line


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_and_options_in_prose_exist(page: Path) -> None:
    options = {option for command in COMMANDS.values() for option in flags(command.config)}
    old = OLD_COMMANDS if page.name == "CHANGELOG.md" else set()
    for code in re.findall(r"`([^`\n]+)`", prose(page)):
        if code.startswith("mfl "):
            assert code.split()[1] in {*COMMANDS, "COMMAND", *GLOBAL_OPTIONS, *old}, code
        if code.startswith(("mfl ", "--")) and not old:
            assert set(re.findall(r"(?<!\S)--[a-z-]+", code)) <= options, code


def test_false_verdicts_are_counted_on_the_negative_control(tmp_path: Path) -> None:
    program = runpy.run_path(str(ROOT / "docs/verdicts.py"))
    study = program["plan"](tmp_path, 2)
    assert {run.arm.privileged for run in study.runs} >= {"full:again"}


def test_python_of_the_pages_runs_and_results_pages_are_filled(
    tissue: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code = python_of(PAGES[0])
    for original, replacement in {
        '"path/to/patches"': '"synthetic:patches=180,patients=12,size=32"',
        "epochs=24": "epochs=1",
        "width=256": "width=16",
        "seeds=3": 'seeds=1, sharing=("shared",), jobs=1',
    }.items():
        assert original in code
        code = code.replace(original, replacement)
    names: dict[str, Any] = {}
    exec(code, names)
    assert len(names["embedding"].features) == 180
    assert set(names["predictions"]["class"]) <= set(tissue.classes)
    table = names["table"]
    assert set(table["metric"]) == {"accuracy"}
    assert set(table["arm"]) >= {"asymmetric", "symmetric", "supervised", "random encoder"}
    assert table["value"].between(0, 1).all()

    results, folder = names["results"], Path("runs/compare")
    results.save(folder)
    (folder / "results.md").write_text("# Title\n\n| a |\n|---|\n")
    (folder / "density.svg").write_text("<svg/>")
    columns = columns_of((ROOT / "docs/results-table.md").read_text())
    assert list(pd.read_csv(folder / "results.csv").columns) == columns
    exec(python_of(ROOT / "docs/results-table.md"), {})

    for number, row in enumerate(tissue.indices("test")[:2], 1):
        Image.fromarray(np.asarray(tissue.array("he")[row])).save(f"{number}.png")
    namespace: dict[str, Any] = {}
    code = python_of(ROOT / "docs/how-to/use-a-frozen-encoder.md")
    exec(code.replace('"runs/a"', repr(str(names["encoder"].folder))), namespace)
    expected = names["embedding"].features[tissue.indices("test")[:2]]
    np.testing.assert_allclose(namespace["features"], expected, rtol=1e-4, atol=1e-5)

    page = "Prose.\n\n<!-- command -->old<!-- end -->\n\n<!-- tables -->old<!-- end -->\n\nMore.\n"
    program = runpy.run_path(str(ROOT / "docs/results/fill.py"))
    filled = program["fill"](page, "page", [folder])
    command = "mfl compare stores/mine --seeds 1 --sharing shared --size 32"
    assert command in filled
    assert "| a |\n|---|\n\n<!-- end -->\n\nMore.\n" in filled
    assert "old" not in filled
    (folder / "panels.svg").write_text("<svg/>")
    (tmp_path / "page.md").write_text("![Accuracy](page/density.svg)")
    program["copy_figures"](folder, tmp_path / "page", tmp_path / "page.md")
    assert [path.name for path in (tmp_path / "page").iterdir()] == ["density.svg"]

    (folder / "representations.md").write_text("# Title\n\n| b |\n|---|\n")
    page = f"Prose.\n\n<!-- {folder.name} -->old<!-- end -->\n"
    filled = program["fill"](page, "page", [folder])
    assert filled == f"Prose.\n\n<!-- {folder.name} -->\n\n| b |\n|---|\n\n<!-- end -->\n"


def test_package_description_has_no_relative_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    metadata_folder = tmp_path / build.prepare_metadata_for_build_wheel(str(tmp_path))  # type: ignore[attr-defined]
    metadata = PathDistribution(metadata_folder).metadata
    description = metadata.get_payload()  # type: ignore[attr-defined]
    assert not LINK.search(description)
    assert "![" not in description
    assert "The page (docs/results/colorectal.md) has the protocol" in description
    assert metadata["Description-Content-Type"] == "text/markdown"
    for field in ("Name", "Version", "Summary", "Author", "License-Expression", "Project-URL"):
        assert metadata[field], field


def test_forecasts_are_ordered_and_plotted_with_gains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "docs/results")
    program = runpy.run_path(str(ROOT / "docs/results/forecast.py"))

    def around(value: float) -> Interval:
        return Interval(value, value - 0.02, value + 0.03, 0.95, "patch", 100, True, 0)

    points = [
        program["Point"](f"store-{n}", kind, around(n / 50), around(-n / 100), around(n * n / 900))
        for n, kind in enumerate([*["controls"] * 6, "hand-crafted features", "reference encoder"])
    ]
    assert "| store-3 | +6.0 [+4.0, +9.0] | −3.0 [−5.0, 0.0] | +1.0" in program["table"](points)
    order = program["order"](points)
    assert "| headroom | the controls | 6 | 1.00 [1.00, 1.00] |" in order
    assert "| forecast | controls and tissue | 7 | −1.00 [−1.00, −1.00] |" in order
    panels = program["figure"](points).axes
    # One per kind, with both intervals.
    assert [len(panel.containers) for panel in panels] == [3, 3]


@pytest.mark.timeout(600)  # it trains a study; the machine may be busy
def test_site_builds_and_loads_nothing_from_the_network(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(tmp_path)]
    without_warnings = {"NO_MKDOCS_2_WARNING": "1", "DISABLE_MKDOCS_2_WARNING": "true"}
    build = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **without_warnings},
        capture_output=True,
        text=True,
        check=False,
    )
    assert build.returncode == 0, build.stderr  # `strict`: a broken link or anchor fails it
    assert (tmp_path / "api/evaluation/results.html").is_file()
    gallery = (tmp_path / "gallery.html").read_text()
    for link in ("live/report.html", "live/explained/index.html"):
        assert f'href="{link}"' in gallery
        html = (tmp_path / link).read_text()
        assert "asymmetric, independent" in html
        assert any((tmp_path / "live/explained/sheets").iterdir())
        for picture in re.findall(r'<img[^>]+src="([^":]+)"', html):
            assert (tmp_path / link).parent.joinpath(picture).is_file(), picture
    for page in tmp_path.rglob("*.html"):
        text = page.read_text()
        assert not re.findall(r'<(?:script|img|iframe)[^>]+src="?(?:https?:)?//', text), page
        assert not re.findall(r'<link[^>]+rel="?stylesheet[^>]+href="?(?:https?:)?//', text), page


def command_lines(page: Path) -> Iterator[str]:
    """The `mfl` commands in a page's fenced blocks, except incomplete ones (with `...`)."""
    for kind, block in FENCE.findall(page.read_text()):
        if kind != "sh":
            continue
        for line in block.splitlines():
            line = re.sub(r"^(\w+=\S+ )+", "", line.strip())
            if line.startswith("mfl ") and "..." not in line and "--help" not in line:
                yield line


def python_of(page: Path) -> str:
    """A page's first block of Python."""
    return next(block for kind, block in FENCE.findall(page.read_text()) if kind == "python")


def flags(config: type) -> Iterator[str]:
    """Every option of a command."""
    yield from (*GLOBAL_OPTIONS, "--config", "--trust", "--quiet", "--json")
    hints = get_type_hints(config)
    for field in fields(config):
        if is_dataclass(hints[field.name]):
            yield from flags(hints[field.name])  # type: ignore[arg-type]
        yield f"--{field.name.replace('_', '-')}"


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text())


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings."""
    titles = HEADING.findall(prose(page))
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def columns_of(page: str) -> list[str]:
    """The names in the first column of the table below `## results.csv`."""
    section = page.partition("## results.csv\n")[2].partition("\n## ")[0]
    return re.findall(r"^\| `(\w+)` \|", section, re.M)
