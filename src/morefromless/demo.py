"""The demonstration: `mfl compare` on synthetic tissue with a known outcome.

It runs two controls of the whole system. In the *positive* control, the primary image has strong
blotches of uneven staining and the privileged image of the same tissue has none, so asymmetric
training must win. In the *negative* control, the privileged image adds nothing, so asymmetric
training must not win. Winning means a corrected p below 0.05 and an interval that is completely
above `MIN_GAIN`. Numbers differ between processors, because rounding differs and training amplifies
it like another seed. On one machine with the same number of threads, they are identical. The
verdicts must be the same on every machine: with three seeds, chance alone gives differences of a
few points, and the positive control's difference is about twenty.
"""

import time
from dataclasses import dataclass, replace
from typing import Any

from morefromless import files
from morefromless.config import DemoConfig, StudyConfig, ViewsConfig, from_flat
from morefromless.evaluation.contrasts import ALPHA
from morefromless.evaluation.results import Contrast, Results
from morefromless.ingest import ingest
from morefromless.report import tables
from morefromless.report.report import write_overview
from morefromless.report.sheet import write_sheet
from morefromless.report.study import write_study
from morefromless.report.terminal import say
from morefromless.report.words import bounds, points
from morefromless.runner import run_all
from morefromless.study import Study

SOURCE = "synthetic:patches=900,patients=60,size=32,control=both"
STUDY_OPTIONS: dict[str, Any] = {
    "size": 32,
    "encoder": "test_resnet",
    "width": 256,
    "epochs": 20,
    "batch": 64,
    "lr": 1e-3,
    "sharing": ("independent",),
    "standardise": True,
    "device": "cpu",  # runs on any machine
}
"""Options of every study (`config.from_flat`)."""
MIN_GAIN = 0.03
"""Asymmetric training wins if the interval of the difference is above this."""


@dataclass(frozen=True)
class Control:
    """One control: its privileged modality and the expected verdict."""

    name: str
    privileged: str
    expected: str
    wins: bool
    """Whether asymmetric training must win."""

    def passed(self, contrast: Contrast) -> bool:
        """Whether the verdict is the expected one."""
        won = contrast.holm_p < ALPHA and contrast.difference.low > MIN_GAIN
        return won == self.wins


CONTROLS = (
    Control("positive", "full:signal", "asymmetric training must win", True),
    Control("negative", "full:again", "asymmetric training must not win", False),
)


def demo(config: DemoConfig) -> bool:
    """Run both controls, print their verdicts, and write a page that links to all results; return
    whether both verdicts are as expected."""
    began = time.perf_counter()
    lines = []
    passed = True
    for control in CONTROLS:
        say(f"{control.name} control: {control.expected}", style="bold")
        results = compare_control(control, config)
        replace(tables.report(results), notes=[]).show()
        contrast = results.contrasts[0]  # asymmetric - symmetric, both independent
        as_expected = control.passed(contrast)
        passed &= as_expected
        difference = contrast.difference
        gain = f"{points(difference.estimate)} points {bounds(difference, signed=True)}"
        lines.append(
            f"{control.name} control ({control.expected}): asymmetric - symmetric = {gain}, "
            f"{contrast.text}: " + ("as expected" if as_expected else "NOT as expected")
        )
    files.write_text(config.out / "verdicts.txt", "\n".join(lines) + "\n")
    page = write_overview(
        config.out,
        [config.out / control.name for control in CONTROLS],
        command="mfl demo",
        title="Two controls on synthetic tissue",
        lede=(
            "In the positive control, the primary image has strong blotches of uneven staining, "
            "and the privileged image of the same tissue has none, so asymmetric training must "
            "win. In the negative control, the privileged image adds nothing, so asymmetric "
            "training must not win."
        ),
        headlines=lines,
    )
    for line in lines:
        say(line)
    say(f"This took {(time.perf_counter() - began) / 60:.1f} minutes.")
    say("Next: mfl ingest path/to/your/patches stores/mine")
    say(f"Open {page}")
    return passed


def compare_control(control: Control, config: DemoConfig) -> Results:
    """Generate tissue, write a contact sheet, train, evaluate, and write tables and figures;
    finished work is kept. Both controls have the same primary images, so encoders that are trained
    only on these are trained once."""
    folder = config.out / control.name
    store = ingest(SOURCE, config.out / "store").store.path
    pair: dict[str, Any] = {"primary": ("full:primary",), "privileged": control.privileged}
    size = STUDY_OPTIONS["size"]
    write_sheet(ViewsConfig(store=store, out=folder / "views.png", **pair, size=size, patches=8))
    values = {**STUDY_OPTIONS, **pair, "seeds": config.seeds, "jobs": config.jobs}
    values |= {"store": store, "out": folder, "runs": config.out / "runs"}
    study = Study.of(from_flat(StudyConfig, values))
    run_all(study.runs, study.config.jobs)
    results = study.evaluate()
    write_study(results, folder)
    return results
