"""Measure how often verdicts are false and true differences are shown, for docs/statistics.md.

    python docs/verdicts.py train runs/verdicts [--seeds 24] [--jobs 0]
    python docs/verdicts.py write runs/verdicts docs/statistics.md

`train` trains the two arms of the demonstration's negative control, in which the privileged image
is the primary image photographed again. It writes which test patches each run predicted correctly.
`write` draws subsets of those runs and simulates arms with a known difference. It computes verdicts
with `contrast_tests`, as `mfl compare` does, and writes their shares between the page's markers.
"""

import argparse
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from morefromless.config import StudyConfig, from_flat
from morefromless.demo import CONTROLS, SOURCE, STUDY_OPTIONS
from morefromless.evaluation.contrasts import ContrastTest, contrast_tests
from morefromless.evaluation.evaluate import evaluate_branch
from morefromless.ingest import ingest, open_source
from morefromless.report.section import fill_blocks
from morefromless.runner import run_all
from morefromless.runs import Run
from morefromless.study import Study

Bools = npt.NDArray[np.bool_]
VERDICTS = ("better", "worse")
MAX_PAIRS, REPETITIONS = 2000, 2000
SEEDS = (2, 3, 4, 5)
PATCHES_PER_PATIENT = 20
"""Test patches of a simulated patient."""


def plan(out: Path, seeds: int) -> Study:
    """The negative control, drawn into `out`, and its arms with this many seeds."""
    (control,) = (candidate for candidate in CONTROLS if not candidate.wins)
    options = {
        **STUDY_OPTIONS,
        "store": ingest(open_source(SOURCE), out / "store").store.path,
        "out": out,
        "primary": ("full:primary",),
        "privileged": control.privileged,
        "seeds": seeds,
    }
    return Study.of(from_flat(StudyConfig, options))


def train(out: Path, seeds: int, jobs: int) -> None:
    """Train and probe both arms of the negative control; write `correct.npz`."""
    study = plan(out, seeds)
    runs = [run for run in study.runs if not run.arm.supervised]
    run_all(runs, jobs)
    store, probe = study.store, study.config.probe
    test = store.indices("test")
    correct: dict[str, list[Bools]] = {"asymmetric": [], "symmetric": []}
    for run in runs:
        answer = evaluate_branch(Run(run.out), "primary", store, probe, "tissue")
        correct[run.arm.kind].append(answer.probabilities.argmax(1) == store.labels[test])
    groups = np.asarray(store.groups("test")).astype(str)
    arms = {kind: np.stack(answers) for kind, answers in correct.items()}
    np.savez_compressed(out / "correct.npz", groups=groups, **arms)  # type: ignore[arg-type]


def contrast_test(a: Bools, b: Bools, groups: npt.ArrayLike | None) -> ContrastTest:
    return contrast_tests([(a, b, groups)], [""])[0]


def trained_table(out: Path) -> str:
    """Verdicts on the trained arms, by the number of seeds of each arm."""
    with np.load(out / "correct.npz") as arrays:
        a, b, groups = arrays["asymmetric"], arrays["symmetric"], arrays["groups"]
    lines = [
        f"{len(a)} runs an arm, {a.shape[1]} test patches of {len(np.unique(groups))} patients. "
        f"Accuracy: asymmetric {_spread(a)}, symmetric {_spread(b)}.",
        "",
        "| seeds of each arm | pairs drawn | false verdicts | the same, an arm against itself "
        "| sign-flip test alone below 0.05 |",
        "|---:|---:|---:|---:|---:|",
    ]
    for k in (1, 2, 3, 5):
        between = [contrast_test(a[i], b[j], groups) for i, j in _pairs_between(len(a), len(b), k)]
        within = [
            contrast_test(arm[i], arm[j], groups)
            for arm in (a, b)
            for i, j in _pairs_within(len(arm), k)
        ]
        flips = np.mean([result.sign_flip.p < 0.05 for result in between])
        lines.append(
            f"| {k} | {len(between)} | {_share(between)} | {_share(within)} | {100 * flips:.1f} % |"
        )
    return "\n".join(lines)


Subsets = tuple[list[int], list[int]]


def _pairs_between(a: int, b: int, k: int) -> Iterator[Subsets]:
    """All pairs of k runs of one arm and k of the other, or `MAX_PAIRS` random pairs if more."""
    pairs = [list(map(list, itertools.combinations(range(n), k))) for n in (a, b)]
    if len(pairs[0]) * len(pairs[1]) <= MAX_PAIRS:
        yield from itertools.product(*pairs)
        return
    rng = np.random.default_rng(k)
    for _ in range(MAX_PAIRS):
        yield pairs[0][rng.integers(len(pairs[0]))], pairs[1][rng.integers(len(pairs[1]))]


def _pairs_within(runs: int, k: int) -> Iterator[Subsets]:
    rng = np.random.default_rng(k)
    for _ in range(MAX_PAIRS // 2):
        drawn = rng.permutation(runs)
        yield list(drawn[:k]), list(drawn[k : 2 * k])


@dataclass(frozen=True)
class Noise:
    """Standard deviations in accuracy, in points."""

    name: str
    seed: float = 0
    """Between two trainings of one arm, on all patients alike."""
    patient: float = 0
    """Between patients, of the difference between the arms."""
    interaction: float = 0
    """Between trainings and patients together."""


NOISE = (
    Noise("chance of patches alone"),
    Noise("patients 5", patient=5),
    Noise("seeds 2", seed=2),
    Noise("seeds 5", seed=5),
    Noise("seeds 10", seed=10),
    Noise("seeds 2, patients 5, together 5", seed=2, patient=5, interaction=5),
    Noise("seeds 5, patients 5, together 5", seed=5, patient=5, interaction=5),
)


def simulate(
    rng: np.random.Generator, patients: int, seeds: Sequence[int], noise: Noise, difference: float
) -> ContrastTest:
    """Verdict on two arms that differ by `difference` points; the mean accuracy is 70 %."""
    patient_accuracy = rng.beta(13.7, 5.9, patients)  # mean 0.7, standard deviation 0.1
    sizes = 2 + rng.poisson(PATCHES_PER_PATIENT - 2, patients)
    groups = np.repeat(np.arange(patients), sizes)
    arms = []
    for n, shift in zip(seeds, (difference / 200, -difference / 200), strict=True):
        arm = patient_accuracy + shift + rng.normal(0, noise.patient / 100 / np.sqrt(2), patients)
        accuracy = arm + rng.normal(0, noise.seed / 100, (n, 1))
        accuracy = accuracy + rng.normal(0, noise.interaction / 100, (n, patients))
        arms.append(rng.random((n, len(groups))) < accuracy[:, groups])
    return contrast_test(arms[0], arms[1], groups)


def false_verdicts() -> str:
    """Shares of verdicts if the arms are equally good."""
    lines = _header("noise, points", "patients")
    for noise in NOISE:
        for patients in (2, 4, 8, 20, 60):
            lines.append(_row(noise, patients, 0, REPETITIONS, noise.name, patients))
    return "\n".join(lines)


POWER = (NOISE[-2], NOISE[-1])


def power() -> str:
    """Shares of verdicts if arm a is better."""
    lines = _header("noise, points", "true difference, points", "patients")
    for noise in POWER:
        for difference in (5, 10, 20):
            for patients in (8, 20, 60):
                cells = (noise.name, difference, patients)
                lines.append(_row(noise, patients, difference, REPETITIONS // 4, *cells))
    return "\n".join(lines)


def _header(*cells: str) -> list[str]:
    columns = [*cells, *(f"{n} seeds" for n in SEEDS)]
    rule = ["---", *["---:"] * (len(columns) - 1)]
    return [f"| {' | '.join(columns)} |", f"|{'|'.join(rule)}|"]


def _row(noise: Noise, patients: int, difference: int, repetitions: int, *cells: object) -> str:
    shares = [
        _share(
            [
                simulate(np.random.default_rng(draw), patients, (n, n), noise, difference)
                for draw in range(repetitions)
            ]
        )
        for n in SEEDS
    ]
    return f"| {' | '.join(map(str, [*cells, *shares]))} |"


def _share(tests: Sequence[ContrastTest]) -> str:
    return f"{100 * np.mean([test.verdict in VERDICTS for test in tests]):.1f} %"


def _spread(correct: Bools) -> str:
    accuracies = 100 * correct.mean(1)
    return (
        f"{accuracies.mean():.1f} ± {accuracies.std(ddof=1):.1f} (standard deviation between runs)"
    )


def write(out: Path, page: Path) -> None:
    """Write the tables between the page's markers, `<!-- NAME -->` and `<!-- end -->`."""
    blocks = {
        "trained": trained_table(out),
        "false verdicts": false_verdicts(),
        "power": power(),
    }
    page.write_text(fill_blocks(page.read_text(), blocks))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(required=True, dest="command")
    for name in ("train", "write"):
        command = commands.add_parser(name)
        command.add_argument("out", type=Path, help="folder of the trained runs")
        if name == "train":
            command.add_argument("--seeds", type=int, default=24)
            command.add_argument("--jobs", type=int, default=0)
        else:
            command.add_argument("page", type=Path)
    args = parser.parse_args()
    if args.command == "train":
        train(args.out, args.seeds, args.jobs)
    else:
        write(args.out, args.page)


if __name__ == "__main__":
    main()
