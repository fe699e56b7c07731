"""Writes the results page and the README's table from what `mfl compare` left.

    mfl compare stores/prostate --out runs/prostate ...
    python docs/results/build.py runs/prostate

The prose is `multi-magnification.in.md`; `{tables}` and `{command}` in it are filled in.
"""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
README = HERE.parent.parent / "README.md"
START, END = "<!-- results: written by docs/results/build.py -->", "<!-- end of results -->"

# Farndale et al. 2023: Table 1, Table S3 (VICReg, independent, symmetric).
PUBLISHED = {
    ("asymmetric", "independent"): "77.4",
    ("asymmetric", "shared"): "77.3",
    ("symmetric", "independent"): "73.8",
    ("symmetric", "shared"): "69.3",
    ("supervised", None): "76.6",
}


def main(folder: Path) -> None:
    found = json.loads((folder / "comparison.json").read_text())
    tables = (folder / "comparison.md").read_text().partition("\n")[2].strip()
    page = (HERE / "multi-magnification.in.md").read_text()
    page = page.replace("{tables}", tables).replace("{command}", _command(found["options"]))
    hours = found["training_seconds"] / 3600
    page = page.replace("{hours}", f"{hours:.1f}").replace("{runs}", str(len(found["runs"])))
    (HERE / "multi-magnification.md").write_text(page)
    pictures = HERE / "multi-magnification"
    pictures.mkdir(exist_ok=True)
    for name in ("density.svg", "curves.svg", "comparison.csv"):
        if (folder / name).exists():
            shutil.copy(folder / name, pictures / name)
    before, _, rest = README.read_text().partition(START)
    after = rest.partition(END)[2]
    README.write_text(f"{before}{START}\n{_readme(found)}\n{END}{after}")


def _command(options: dict[str, Any]) -> str:
    """The command that was run, from its options; only what differs from the defaults."""
    names = ("size", "encoder", "width", "epochs", "batch", "lr", "seeds", "probe_every")
    words = " ".join(f"--{n.replace('_', '-')} {options[n]}" for n in names)
    primary = " ".join(options["primary"])
    more = " --standardise" * options["standardise"] + " --device cpu --jobs 2"
    return f"mfl compare stores/prostate --out runs/prostate --primary {primary} {words}{more}"


def _readme(found: dict[str, Any]) -> str:
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


if __name__ == "__main__":
    main(Path(sys.argv[1]))
