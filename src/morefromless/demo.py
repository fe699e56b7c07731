"""The demonstration: the main job on synthetic tissue whose answer is known.

Two controls of the whole system. In the *positive* one the privileged modality holds a signal that
the primary has only under a nuisance of its own, so asymmetric training must win. In the *negative*
one it adds nothing, so asymmetric training must not win. Winning is a verdict, "better", whose
whole interval is above `MARGIN`. Numbers differ between processors, which round otherwise, and
training amplifies that as it does another seed; on one machine with as many threads they are the
same. What must come out holds on all of them: with three seeds, chance alone spans a few points,
and the positive control's difference is near twenty.

Then the paper's second experiment, image and nuclei mask both ways, which has no known answer here.
"""

import time
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from morefromless.comparison.compare import Comparison, compare
from morefromless.comparison.results import Contrast
from morefromless.comparison.transfer import Transfer, transfer
from morefromless.data import atomic
from morefromless.ingest import ingest, open_source
from morefromless.options import (
    CompareOptions,
    DemoOptions,
    TransferOptions,
    ViewsOptions,
)
from morefromless.report import table
from morefromless.report import transfer as both_ways_table
from morefromless.report.figures import write_figures
from morefromless.report.sheet import write_sheet
from morefromless.report.transfer_figure import write_figure

SOURCE = "synthetic:patches=900,patients=60,size=32,control="
TYPED = "synthetic:patches=900,patients=60,size=32"
RECIPE: dict[str, Any] = {
    "size": 32,
    "encoder": "test_resnet",
    "width": 256,
    "epochs": 20,
    "batch": 64,
    "lr": 1e-3,
    "standardise": True,
    "device": "cpu",  # so that it runs on any machine
}
MARGIN = 0.03
"""Asymmetric training wins where the interval of the difference is above this."""


@dataclass(frozen=True)
class Control:
    """One control: what is drawn, and what must come out."""

    name: str
    expected: str
    wins: bool
    """Whether asymmetric training must win."""

    def passed(self, contrast: Contrast) -> bool:
        """Whether it came out as it must."""
        won = contrast.verdict == "better" and contrast.difference.low > MARGIN
        return won == self.wins


CONTROLS = (
    Control("positive", "asymmetric training must win", True),
    Control("negative", "asymmetric training must not win", False),
)


def demo(options: DemoOptions, console: Console) -> bool:
    """Run both controls, print their tables and verdicts; whether both came out as they must."""
    began = time.perf_counter()
    lines = []
    passed = True
    for control in CONTROLS:
        console.rule(f"[bold]{control.name} control: {control.expected}")
        comparison = compare_control(control, options)
        folder = options.out / control.name
        report = table.report(comparison)
        report.write(folder, "comparison")
        write_figures(comparison, folder)
        report.show(console)
        contrast = table.contrast_of(comparison, "full:primary", "independent")
        right = control.passed(contrast)
        passed &= right
        points = contrast.difference
        lines.append(
            f"{control.name} control ({control.expected}): asymmetric - symmetric = "
            f"{100 * points.estimate:+.1f} points [{100 * points.low:+.1f}, "
            f"{100 * points.high:+.1f}], {contrast.text}: "
            + ("as it must be" if right else "NOT as it must be")
        )
    console.rule("[bold]both ways: nuclei and image, tissue and cell")
    both_ways(options, console)
    console.rule("[bold]verdicts")
    for line in lines:
        console.print(line)
    minutes = (time.perf_counter() - began) / 60
    console.print(f"Tables and figures are in {options.out} ({minutes:.1f} minutes).")
    atomic.write_text(options.out / "verdicts.txt", "\n".join(lines) + "\n")
    return passed


def both_ways(options: DemoOptions, console: Console) -> Transfer:
    """Table 2's protocol on synthetic tissue: two modalities, two tasks, every encoder."""
    folder = options.out / "both-ways"
    ingest(open_source(TYPED), folder / "store")
    sheet = ViewsOptions(
        store=folder / "store",
        out=folder / "views.png",
        primary=("nuclei",),
        privileged="full",
        size=RECIPE["size"],
        patches=9,
    )
    write_sheet(sheet)
    found = transfer(
        TransferOptions(
            **RECIPE | {"epochs": 7},
            store=folder / "store",
            out=folder,
            sharing=("independent",),
            seeds=options.seeds,
            jobs=options.jobs,
        )
    )
    report = both_ways_table.report(found)
    report.write(folder, "transfer")
    write_figure(found, folder)
    report.show(console)
    return found


def compare_control(control: Control, options: DemoOptions) -> Comparison:
    """Ingest one control and compare all arms on it; what was done before is kept."""
    folder = options.out / control.name
    ingest(open_source(SOURCE + control.name), folder / "store")
    recipe: dict[str, Any] = {
        "store": folder / "store",
        "primary": ("full:primary",),
        "privileged": "full:privileged",
    }
    sheet = ViewsOptions(**recipe, out=folder / "views.png", size=RECIPE["size"], patches=8)
    write_sheet(sheet)
    return compare(
        CompareOptions(
            **recipe,
            **RECIPE,
            out=folder,
            seeds=options.seeds,
            jobs=options.jobs,
            sharing=("independent",),
        )
    )
