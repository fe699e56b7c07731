"""Fill a results page from the folders of finished commands, and copy their figures.

    python docs/results/fill.py multi-magnification runs/prostate
    python docs/results/fill.py methods runs/methods/simclr runs/methods/vicreg
    python docs/results/fill.py reproduction-consep runs/reproduce
    python docs/results/fill.py representations runs/represented/control runs/represented/prostate
    python docs/results/fill.py colorectal runs/colorectal runs/labels-0.01 headroom/7 headroom/14
    python docs/results/fill.py controls runs/students-1.0 runs/students-0.0

A page is prose with blocks between `<!-- NAME -->` and `<!-- end -->`. The content of each block is
replaced, and the prose stays unchanged:

    command   the commands of the studies, with the options that differ from the defaults
    cost      the number of runs, and their hours of training
    tables    the tables of the studies (`results.md`); `tables FOLDER`: those of one study
    headroom  the tables of `mfl headroom` (`headroom.md`); `headroom FOLDER`: those of one folder
    forecast  the forecasts of `mfl headroom` and the measured differences of the studies
    labels    accuracy by the share of labels that the probes use (`--labels`)
    report    the report of a reproduction (`report.md`)
    FOLDER    the report of `mfl represent` in the folder of this name (`representations.md`)
"""

import json
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import msgspec

from morefromless.config import StudyConfig, typed_options
from morefromless.errors import MoreFromLessError
from morefromless.evaluation.intervals import Interval
from morefromless.evaluation.results import Contrast, Results
from morefromless.report.section import Section, fill_blocks, interval

PAGES = Path(__file__).parent
PICTURE = re.compile(r"\]\(([^)#:]+\.(?:svg|png))\)")


def main(name: str, folders: list[Path]) -> None:
    """Rewrite the page. Raises `MoreFromLessError` if a folder holds no results."""
    page = PAGES / f"{name}.md"
    page.write_text(fill(page.read_text(), name, folders), encoding="utf-8")
    for folder in folders:
        target = PAGES / name / folder.name if len(folders) > 1 else PAGES / name
        copy_figures(folder, target, page)


def fill(text: str, name: str, folders: list[Path]) -> str:
    """Return `text` with its blocks filled from these folders."""
    if (folders[0] / "report.md").is_file() and "<!-- report -->" in text:
        body = _without_title(folders[0] / "report.md")
        blocks = {"report": PICTURE.sub(rf"]({name}/\1)", body)}
    elif (folders[0] / "representations.md").is_file():
        blocks = {folder.name: _without_title(folder / "representations.md") for folder in folders}
    else:
        headrooms = [folder for folder in folders if (folder / "headroom.md").is_file()]
        study_folders = [folder for folder in folders if folder not in headrooms]
        studies = [Results.load(folder) for folder in study_folders]
        blocks = {
            "command": "```sh\n" + "\n".join(command(study.config) for study in studies) + "\n```",
            "cost": cost(studies),
            "tables": "\n\n".join(map(tables, study_folders)),
            "forecast": forecasts(headrooms, studies),
            "labels": labels(studies),
        }
        blocks |= {f"tables {folder.name}": tables(folder) for folder in study_folders}
        pages = {f.name: _without_title(f / "headroom.md") for f in headrooms}
        blocks["headroom"] = "\n\n".join(pages.values())
        blocks |= {f"headroom {name}": page for name, page in pages.items()}
    return fill_blocks(text, blocks)


def command(config: StudyConfig) -> str:
    """The command line of a study, with only the options that differ from the defaults."""
    # Earlier versions accepted a teacher without students. It had no effect.
    unused = () if config.distillation else ("teacher", "teacher_size")
    options = typed_options(config, StudyConfig(store=config.store), without=unused)
    return shlex.join(["mfl", "compare", str(config.store), *options])


def cost(studies: list[Results]) -> str:
    """The number of runs and their training time; shared runs count once."""
    runs = {run.name: float(run.facts.get("seconds", 0)) for study in studies for run in study.runs}
    return f"{len(runs)} runs, {sum(runs.values()) / 3600:.1f} hours of training."


def tables(folder: Path) -> str:
    """The tables of one study that `mfl compare` wrote, without their title."""
    return _without_title(folder / "results.md")


def forecasts(headrooms: list[Path], studies: list[Results]) -> str:
    """Each forecast, and the differences that the studies measured with the same two modalities."""
    header = ("views", "headroom", "forecast", "contrast", "measured")
    rows: dict[tuple[str, str], tuple[str, ...]] = {}  # of several studies, the first is used
    for numbers, _, contrast in outcomes(headrooms, studies):
        features = "reference encoder" if numbers["options"]["encoder"] else "hand-crafted features"
        bound, value = (
            interval(msgspec.convert(numbers[name], Interval), signed=True)
            for name in ("headroom", "forecast")
        )
        measured = interval(contrast.difference, signed=True)
        views = f"{numbers['options']['primary']}, {features}"
        rows.setdefault((views, contrast.name), (views, bound, value, contrast.name, measured))
    return Section("", header, list(rows.values())).markdown().strip()


def outcomes(
    headrooms: list[Path], studies: list[Results]
) -> Iterator[tuple[dict[str, Any], Results, Contrast]]:
    """Yield the numbers of each `headroom.json` with every difference from symmetric training that
    a study measured on the same store, with the same two modalities."""
    for folder in headrooms:
        numbers = json.loads((folder / "headroom.json").read_text(encoding="utf-8"))
        options = numbers["options"]
        views = options["primary"], options["privileged"]
        for study in studies:
            for contrast in study.contrasts:
                same = (contrast.a.modality, contrast.a.partner) == views
                on_store = str(study.config.store) == options["store"]
                if same and on_store and contrast.b.arm == "symmetric":
                    yield numbers, study, contrast


def labels(studies: list[Results]) -> str:
    """One row per condition or contrast of each primary modality, one column per share of labels.

    Supervised encoders are excluded, because they use all labels in training.
    """
    partly_labelled = [study for study in studies if study.config.probe.labels < 1]
    by_share = {
        study.config.probe.labels: study
        for study in studies
        if partly_labelled
        and _with_all_labels(study.config) == _with_all_labels(partly_labelled[0].config)
    }
    rows: dict[tuple[str, str], dict[float, str]] = {}
    for share, study in by_share.items():
        arms = study.select(lambda condition: condition.arm != "supervised")
        contrasts = [item for item in study.contrasts if item.b.arm != "supervised"]
        for spec in study.config.primary:
            for arm in (item for item in arms if item.condition.modality == spec):
                rows.setdefault((spec, arm.condition.title), {})[share] = interval(arm.accuracy)
            for contrast in (item for item in contrasts if item.a.modality == spec):
                points = interval(contrast.difference, signed=True)
                rows.setdefault((spec, contrast.name), {})[share] = points
    shares = sorted(by_share)
    header = (
        "views",
        "arm, or contrast in points",
        *(f"{share:.0%} of labels" for share in shares),
    )
    lines = [(*key, *(row.get(share, "") for share in shares)) for key, row in rows.items()]
    return Section("", header, lines).markdown().strip()


def _with_all_labels(config: StudyConfig) -> StudyConfig:
    """The options of a study without its share of labels, which all studies in a table share."""
    return replace(config, out=Path(), probe=replace(config.probe, labels=1.0))


def _without_title(page: Path) -> str:
    return page.read_text(encoding="utf-8").partition("\n")[2].strip()


def copy_figures(folder: Path, target: Path, page: Path) -> None:
    """Copy the figures that the page shows from `folder` to `target`, a folder next to the page."""
    prefix = f"{target.relative_to(page.parent).as_posix()}/"
    links = PICTURE.findall(page.read_text(encoding="utf-8"))
    shown = [path for path in links if path.startswith(prefix)]
    for figure in {unquote(path.removeprefix(prefix)) for path in shown}:
        (target / figure).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / figure, target / figure)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(f"Usage: python {sys.argv[0]} PAGE FOLDER ...")
    try:
        main(sys.argv[1], [Path(argument) for argument in sys.argv[2:]])
    except MoreFromLessError as error:
        sys.exit(str(error))
