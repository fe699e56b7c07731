"""Check that this version gives the same numbers as an earlier commit, to the last digit.

    python docs/same_numbers.py --before COMMIT --work /tmp/same

This checks out that commit in a separate worktree and runs `mfl demo` and
`mfl reproduce all --scale smoke` with both versions. It then compares every accuracy, interval,
p-value, recall, confusion matrix, floor and CKA. Both versions run on one machine, one after the
other, because numbers differ between processors. `--old FOLDER --new FOLDER` compares existing
folders.
"""

import argparse
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
COMMANDS = {"demo": ["demo"], "smoke": ["reproduce", "all", "--scale", "smoke"]}

Numbers = dict[str, Any]
"""Maps the place of a number, such as `table1/asymmetric|shared|.../accuracy`, to its value."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", help="the earlier commit")
    parser.add_argument("--work", type=Path, default=Path("build/same"))
    parser.add_argument("--old", type=Path)
    parser.add_argument("--new", type=Path)
    args = parser.parse_args()
    pairs = [(args.old, args.new)]
    if args.before:
        tree = args.work / "before"
        if not tree.exists():
            subprocess.run(["git", "worktree", "add", tree.absolute(), args.before], check=True)
        for name, command in COMMANDS.items():
            for side, source in (("old", tree), ("new", ROOT)):
                run_mfl(source, [*command, "--out", str((args.work / side / name).absolute())])
        pairs = [(args.work / "old" / name, args.work / "new" / name) for name in COMMANDS]
    differing = 0
    for old, new in pairs:
        differing += compare(old, new)
    return 1 if differing else 0


def run_mfl(source: Path, arguments: list[str]) -> None:
    environment = {**os.environ, "PYTHONPATH": str((source / "src").absolute())}
    code = "import sys; from morefromless.cli import run; sys.exit(run(sys.argv[1:]))"
    subprocess.run([sys.executable, "-c", code, *arguments], env=environment, check=True)


def compare(old: Path, new: Path) -> int:
    """Print the differences between two folders and return how many numbers differ."""
    before, after = dict(numbers(old)), dict(numbers(new))
    missing = [key for key in before if key not in after]
    different = [key for key in before if key in after and not same(before[key], after[key])]
    for key in missing:
        print(f"missing    {key}")
    for key in different:
        print(f"different  {key}: {before[key]} before, {after[key]} now")
    equal = len(before) - len(missing) - len(different)
    print(f"{old}: {equal} of {len(before)} numbers are equal to the last digit.")
    return len(missing) + len(different) + (not before)


def same(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, float) and math.isnan(a) and math.isnan(b):
        return True
    return bool(a == b)


def numbers(folder: Path) -> Iterator[tuple[str, Any]]:
    """Yield every number of a demo or a reproduction, of either version."""
    readers = {
        "comparison.json": old_comparison,
        "transfer.json": old_transfer,
        "results.json": new_results,
        "representations.json": representations,
    }
    for name, reader in readers.items():
        for path in sorted(folder.rglob(name)):
            subfolder = path.parent.relative_to(folder)
            for key, value in reader(json.loads(path.read_text())):
                yield f"{subfolder}: {key}", value


def condition(**words: str | None) -> str:
    """Key of a condition without defaults: the earlier version does not normalise specs."""
    order = ("arm", "sharing", "objective", "modality", "partner", "task")
    key = " | ".join(words.get(name) or "-" for name in order)
    return key.replace("nuclei:types=6", "nuclei")


def old_comparison(report: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    options = report["options"]

    def condition_key(arm: dict[str, Any], branch: str = "primary") -> str:
        paired = arm["kind"] in ("asymmetric", "trident")
        names = [arm["primary"], options["privileged"]]
        modality, partner = names if branch == "primary" else names[::-1]
        supervised = arm["kind"] == "supervised"
        return condition(
            arm=arm["kind"],
            sharing=arm["sharing"],
            objective=options["task"] if supervised else options["objective"],
            modality=modality,
            partner=partner if paired else None,
            task=options["task"],
        )

    for row in report["rows"]:
        key = condition_key(row["arm"], row["branch"])
        yield from score_numbers(key, row)
        yield f"{key} ece", row["ece"]
        yield f"{key} recall", row["recall"]
        yield f"{key} confusion", row["confusion"]
    for floor in report["floors"]:
        key = condition(arm=floor["name"], modality=floor["modality"], task=options["task"])
        yield from score_numbers(key, floor)
    for contrast in report["contrasts"]:
        yield from contrast_numbers(
            f"{condition_key(contrast['a'])} less {condition_key(contrast['b'])}", contrast
        )


def old_transfer(report: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    modalities = report["options"]["modalities"]

    def condition_key(method: dict[str, Any], modality: str, task: str) -> str:
        other = next(name for name in modalities if name != modality)
        return condition(
            arm=method["kind"],
            sharing=method["sharing"],
            objective=method["learnt"],
            modality=modality,
            partner=other if method["kind"] == "asymmetric" else None,
            task=task,
        )

    for cell in report["cells"]:
        yield from score_numbers(
            condition_key(cell["method"], cell["modality"], cell["task"]), cell
        )
    for task, floors in report["floors"].items():
        for floor in floors:
            key = condition(arm=floor["name"], modality=floor["modality"], task=task)
            yield from score_numbers(key, floor)
    for contrast in report["contrasts"]:
        where = contrast["modality"], contrast["task"]
        pair = f"{condition_key(contrast['a'], *where)} less {condition_key(contrast['b'], *where)}"
        yield from contrast_numbers(pair, contrast)


def new_results(report: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for summary in report["summaries"]:
        key = condition(**summary["condition"])
        yield from score_numbers(key, {**summary, **summary["intervals"]})
        for name in ("recall", "confusion"):
            yield f"{key} {name}", summary[name]
        yield f"{key} ece", summary["means"]["ece"]
    for contrast in report["contrasts"]:
        pair = f"{condition(**contrast['a'])} less {condition(**contrast['b'])}"
        yield from contrast_numbers(pair, contrast)


def score_numbers(key: str, row: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    yield f"{key} seeds", row["accuracies"]
    for name in ("accuracy", "balanced_accuracy", "macro_f1"):
        if name in row:
            interval = row[name]
            yield f"{key} {name}", [interval["estimate"], interval["low"], interval["high"]]


def contrast_numbers(key: str, contrast: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    difference = contrast["difference"]
    yield f"{key} points", [difference["estimate"], difference["low"], difference["high"]]
    yield f"{key} p", [contrast["sign_flip"]["p"], contrast["p"], contrast["holm_p"]]


def representations(report: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """CKA of each pair of arms: means over pairs of runs."""
    for pair in report.get("cka", []):
        yield f"cka {pair['a']} with {pair['b']}", pair["mean"]


if __name__ == "__main__":
    sys.exit(main())
