"""Writes a results page, and its table in the README, from what a command left.

    mfl compare stores/prostate --out runs/prostate ...
    python docs/results/build.py multi-magnification runs/prostate

    mfl transfer stores/consep --out runs/consep ...
    python docs/results/build.py tissue-nuclei runs/consep

    mfl compare ... --out runs/methods/ONE        # several
    python docs/results/build.py methods runs/methods

    mfl represent runs/prostate --out runs/represented/prostate     # and others
    python docs/results/build.py representations runs/represented

    mfl reproduce table1 table-s3 ... --store stores/prostate --out runs/reproduce-prostate
    python docs/results/build.py reproduction-prostate runs/reproduce-prostate

The prose is `PAGE.in.md`; what stands there in braces is filled in.
"""

import json
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import _methods

HERE = Path(__file__).parent
README = HERE.parent.parent / "README.md"

# Farndale et al. 2023: Table 1, Table S3 (VICReg, independent, symmetric).
PUBLISHED = {
    ("asymmetric", "independent"): "77.4",
    ("asymmetric", "shared"): "77.3",
    ("symmetric", "independent"): "73.8",
    ("symmetric", "shared"): "69.3",
    ("supervised", None): "76.6",
}

# Table 2, the rows of the task cell: from masks, from images.
TABLE_2 = {
    ("vicreg", "asymmetric"): ("86.5", "81.3"),
    ("vicreg", "symmetric"): ("81.6", "69.0"),
    ("simclr", "asymmetric"): ("85.4", "80.4"),
    ("simclr", "symmetric"): ("82.4", "69.1"),
    ("cell", "supervised"): ("93.7", "82.1"),
}
# The paper's columns are of asymmetric arms with independent weights, symmetric ones with shared.
SHARING = {"asymmetric": "independent", "symmetric": "shared", "supervised": None}

Found = dict[str, Any]


@dataclass(frozen=True)
class Page:
    """How one page is made: of which files, with which words, and the README's part of it."""

    stem: str
    command: Callable[[Found], str]
    readme: Callable[[Found], str]
    pictures: tuple[str, ...]


def main(name: str, folder: Path) -> None:
    if name in WRITERS:
        WRITERS[name](name, folder)
        return
    page = PAGES[name]
    found = json.loads((folder / f"{page.stem}.json").read_text())
    tables = (folder / f"{page.stem}.md").read_text().partition("\n")[2].strip()
    _fill(name, found, tables=tables, command=page.command(found), beside=page.readme(found))
    pictures = HERE / name
    pictures.mkdir(exist_ok=True)
    for picture in page.pictures:
        if (folder / picture).exists():
            shutil.copy(folder / picture, pictures / picture)
    start, end = f"<!-- {name}: written by docs/results/build.py -->", f"<!-- end of {name} -->"
    before, _, rest = README.read_text().partition(start)
    after = rest.partition(end)[2]
    README.write_text(f"{before}{start}\n{page.readme(found)}\n{end}{after}")


def _fill(name: str, found: Found, **words: str) -> None:
    words |= {
        "hours": f"{found['training_seconds'] / 3600:.1f}",
        "runs": str(len(found["runs"])),
    }
    text = (HERE / f"{name}.in.md").read_text()
    for key, value in words.items():
        text = text.replace(f"{{{key}}}", value)
    (HERE / f"{name}.md").write_text(text)


def _write_methods(name: str, folder: Path) -> None:
    """A page of many comparisons, without a part in the README."""
    found = _methods.gathered(folder)
    _fill(name, found, tables=_methods.tables(found), command=_methods.command(found))
    _methods.draw(found, HERE / name / "contrasts.svg")


def _write_representations(name: str, folder: Path) -> None:
    """A section a data set: the tables and figures of `mfl represent`, and what they say."""
    sections, said, runs, seconds = [], [], [], 0.0
    for path in sorted(folder.glob("*/representations.json")):
        found = json.loads(path.read_text())
        data = path.parent.name
        (HERE / name / data).mkdir(parents=True, exist_ok=True)
        for picture in REPRESENTED:
            shutil.copy(path.parent / picture, HERE / name / data / picture)
        tables = (path.parent / "representations.md").read_text().partition("\n")[2].strip()
        shown = [f"![{text}]({name}/{data}/{file})" for file, text in REPRESENTED.items()]
        own, lines = _alike(found)
        said.append(f"on {data} {own}")
        sections += [
            f"## {data.capitalize()}",
            f"```sh\n{_represent_command(found)}\n```",
            "\n".join(lines),
            *shown,
            tables,
        ]
        runs += [one for each in found["runs"].values() for one in each]
        seconds += found["training_seconds"]
    lead = f"**Encoders most alike to others of their own way of training: {'; '.join(said)}.**"
    _fill(
        name, {"runs": runs, "training_seconds": seconds}, lead=lead, sections="\n\n".join(sections)
    )


REPRESENTED = {
    "cka.svg": "CKA between all layers of every two arms, from the input at the lower left",
    "cka-diagonal.svg": "CKA of the same layer, within and between arms",
    "confusion.svg": "Confusion matrices and their differences",
    "gradcam-first.png": "GradCAM of the first convolution, on patches that stand for their class",
}


def _represent_command(found: Found) -> str:
    compared, options = found["comparison"], found["options"]
    said = [f"mfl represent {options['comparison']} --out {options['out']}"]
    if options["arms"]:
        said.append(f"--arms {' '.join(options['arms'])}")
    said += ["--standardise"] * options["standardise"]
    page = "reproduction-prostate" if "reproduce" in compared["out"] else "methods"
    made = f"# {compared['out']} is made by the commands of {page}.md"
    return f"{made}\n{' '.join(said)}"


def _alike(found: Found) -> tuple[str, list[str]]:
    """For how many ways of training the paper's finding holds, and the numbers."""
    values: dict[tuple[str, str], list[tuple[float, int]]] = {}
    for one in found["alike"]:
        pair = tuple(sorted(arm.partition(",")[0] for arm in (one["a"], one["b"])))
        values.setdefault(pair, []).append((one["mean"][-1][-1], one["combinations"]))
    mean = {
        pair: sum(v * n for v, n in some) / sum(n for _, n in some) for pair, some in values.items()
    }
    kinds = list(dict.fromkeys(kind for pair in mean for kind in pair))
    lines = [
        "| trained | with its own kind | nearest other kind | farthest |",
        "|---|---:|---:|---:|",
    ]
    holds = 0
    for kind in kinds:
        others = {other: mean[tuple(sorted((kind, other)))] for other in kinds if other != kind}
        near, far = max(others, key=others.__getitem__), min(others, key=others.__getitem__)
        holds += mean[kind, kind] > others[near]
        lines.append(
            f"| {kind} | {mean[kind, kind]:.2f} | {others[near]:.2f} ({near}) "
            f"| {others[far]:.2f} ({far}) |"
        )
    return f"{holds} of {len(kinds)} ways", lines


def _write_reproduction(name: str, folder: Path) -> None:
    """`report.md` as `mfl report` wrote it, with the pictures that it shows, below the commands."""
    title, _, text = (folder / "report.md").read_text().partition("\n")
    (reproduced,) = re.findall(r"^\| last command \| (.*) \|$", text, re.MULTILINE)
    text = (
        f"{title}\n\n*Written by `mfl report`, after these commands:*\n\n"
        f"```sh\n{INGESTED[name]}\n{reproduced}\n```\n{text}"
    )
    shown = sorted(set(re.findall(r"\]\(([^)#]+\.(?:svg|png))\)", text)))
    for picture in shown:
        target = HERE / name / unquote(picture)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / unquote(picture), target)
    text = re.sub(r"\]\((?!#|https?:)([^)]+)\)", rf"]({name}/\1)", text)
    (HERE / f"{name}.md").write_text(text)


INGESTED = {
    "reproduction-prostate": "mfl ingest path/to/prostate stores/prostate-150",
    "reproduction-consep": "mfl ingest consep:path/to/consep stores/consep --cut 125",
}


def _multi_command(found: Found) -> str:
    """The command that was run, from its options; only what differs from the defaults."""
    options = found["options"]
    primary = " ".join(options["primary"])
    return f"mfl compare stores/prostate --out runs/prostate --primary {primary} {_words(options)}"


def _transfer_command(found: Found) -> str:
    options = found["options"]
    seen, tasks = (" ".join(options[name]) for name in ("modalities", "tasks"))
    return (
        f"mfl transfer stores/consep --out runs/consep --modalities {seen} --tasks {tasks} "
        f"{_words(options)}"
    )


def _words(options: Found) -> str:
    names = ("size", "encoder", "width", "epochs", "batch", "lr", "seeds", "probe_every")
    words = " ".join(f"--{n.replace('_', '-')} {options[n]}" for n in names)
    return words + " --standardise" * options["standardise"] + " --device cpu --jobs 2"


def _nuclei_readme(found: Found) -> str:
    """The task cell from masks and from images, the paper's figures beside ours."""
    options = found["options"]
    masks, images = options["modalities"]
    lines = [
        "| type of most nuclei, accuracy % | paper: masks | paper: images | ours: masks [95 %] "
        "| ours: images [95 %] |",
        "|---|---:|---:|---:|---:|",
    ]
    for (learnt, kind), published in TABLE_2.items():
        ours = [_cell(found, learnt, kind, seen)["accuracy"] for seen in (masks, images)]
        title = "supervised on cell" if kind == "supervised" else f"{learnt}, {kind}"
        lines.append(f"| {title} | {' | '.join(published)} | {' | '.join(map(_shown, ours))} |")
    floors = found["floors"]["cell"]
    best = [
        max((f for f in floors if f["modality"] == seen), key=lambda f: f["accuracy"]["estimate"])
        for seen in (masks, images)
    ]
    shown = " | ".join(f"{100 * f['accuracy']['estimate']:.1f} ({f['name']})" for f in best)
    lines.append(f"| best floor | not given | not given | {shown} |")
    return "\n".join(lines)


def _cell(found: Found, learnt: str, kind: str, seen: str) -> Found:
    """The cell of a method with the paper's sharing, on the task cell."""
    made: Found = next(
        cell
        for cell in found["cells"]
        if cell["task"] == "cell"
        and cell["modality"] == seen
        and cell["method"] == {"kind": kind, "learnt": learnt, "sharing": SHARING[kind]}
    )
    return made


def _shown(interval: Found) -> str:
    low, high = 100 * interval["low"], 100 * interval["high"]
    return f"{100 * interval['estimate']:.1f} [{low:.1f}, {high:.1f}]"


def _multi_readme(found: Found) -> str:
    primary = "downsample:7"
    rows = [r for r in found["rows"] if r["arm"]["primary"] == primary and r["branch"] == "primary"]
    lines = [
        "| 7 x 7 px of information, accuracy % | paper: NCT-CRC, ResNet-50 at 224 px, one run "
        f"| ours: prostate, {found['options']['encoder']} at {found['options']['size']} px, "
        f"{found['options']['seeds']} seeds [95 %] |",
        "|---|---:|---:|",
    ]
    for row in rows:
        arm = row["arm"]
        got = row["accuracy"]
        lines.append(
            f"| {row['title']} | {PUBLISHED[arm['kind'], arm['sharing']]} "
            f"| {100 * got['estimate']:.1f} [{100 * got['low']:.1f}, {100 * got['high']:.1f}] |"
        )
    floors = [f for f in found["floors"] if f["modality"] == primary]
    best = max(floors, key=lambda floor: floor["accuracy"]["estimate"])
    lines.append(
        f"| best floor ({best['name']}) | not given | {100 * best['accuracy']['estimate']:.1f} |"
    )
    verdicts = [
        c["verdict"]
        for c in found["contrasts"]
        if c["primary"] == primary and c["name"].startswith("asymmetric - symmetric")
    ]
    named = zip(verdicts, ("shared", "independent"), strict=True)
    said = "; ".join(f"{verdict} with {sharing} weights" for verdict, sharing in named)
    lines += [
        "",
        "Other tissue, another network and a far smaller scale: the columns are not to be compared "
        f"with each other. Asymmetric against symmetric in ours: {said}. "
        "[The page](docs/results/multi-magnification.md) has the command, the curves, and what "
        "this does not show.",
    ]
    return "\n".join(lines)


PAGES = {
    "multi-magnification": Page(
        "comparison", _multi_command, _multi_readme, ("density.svg", "curves.svg", "comparison.csv")
    ),
    "tissue-nuclei": Page(
        "transfer", _transfer_command, _nuclei_readme, ("transfer.svg", "transfer.csv")
    ),
}

WRITERS: dict[str, Callable[[str, Path], None]] = {
    "methods": _write_methods,
    "representations": _write_representations,
    "reproduction-prostate": _write_reproduction,
    "reproduction-consep": _write_reproduction,
}

if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
