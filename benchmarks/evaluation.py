"""Evaluation of a trained study: predictions, statistics, reports and comparisons."""

import contextlib
import io
import shutil
import tempfile
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

from benchmarks import Call, Row, Stage
from benchmarks._training import synthetic_store
from morefromless import progress
from morefromless.config import ExplainConfig, RepresentConfig, StudyConfig, from_flat
from morefromless.data.store import Store
from morefromless.evaluation.conclude import conclude
from morefromless.report.study import write_study
from morefromless.runner import run_all
from morefromless.study import Study


class Evaluation(Stage):
    """A study of all default arms, trained for one epoch. Training is not measured."""

    def __init__(
        self, patches: int = 2000, size: int = 32, seeds: int = 2, encoder: str = "test_resnet"
    ) -> None:
        self.patches, self.size, self.seeds, self.encoder = patches, size, seeds, encoder
        self.folder = Path(tempfile.mkdtemp())

    @property
    def title(self) -> str:
        return f"A study of {self.patches:,} patches and {self.seeds} seeds, once it is trained"

    @property
    def units(self) -> tuple[float, str]:
        return 1, "calls"

    def rows(self) -> list[Row]:
        return [
            Row(
                "evaluation: features, probes, floors, statistics",
                lambda: self._evaluate_from_scratch,
            ),
            Row("evaluation again, all answers on disk", self._evaluate_cached, compared=False),
            Row("its bootstrap and tests alone", self._statistics, compared=False),
            Row("its tables, figures and report", self._report, compared=False),
            Row("mfl status", lambda: _silent(self._status), compared=False),
            Row("mfl explain", lambda: _silent(self._explain), compared=False),
            Row("mfl represent", lambda: _silent(self._represent), compared=False),
        ]

    @cached_property
    def store(self) -> Store:
        return synthetic_store(self.patches, self.size, patients=40)

    def _study(self, out: Path) -> Study:
        config = {
            "store": self.store.path,
            "out": out,
            "encoder": self.encoder,
            "size": self.size,
            "batch": 256,
            "width": 64,
            "epochs": 1,
            "seeds": self.seeds,
            "device": "cpu",
        }
        return Study.of(from_flat(StudyConfig, config))

    @cached_property
    def trained(self) -> Study:
        """The study, trained but not evaluated."""
        study = self._study(self.folder / "trained")
        with progress.use_mode("quiet"):
            run_all(study.runs, jobs=1)
        return study

    @cached_property
    def evaluated(self) -> Study:
        shutil.copytree(self.trained.config.out, self.folder / "evaluated")
        study = self._study(self.folder / "evaluated")
        write_study(study.evaluate(progress=False), study.config.out)
        return study

    def _evaluate_from_scratch(self) -> float:
        trained = self.trained.config.out
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            study = self._study(Path(shutil.copytree(trained, Path(folder) / "study")))
            start = time.process_time()
            study.evaluate(progress=False)
            return time.process_time() - start

    def _evaluate_cached(self) -> Call:
        study = self.evaluated
        return lambda: study.evaluate(progress=False)

    def _statistics(self) -> Call:
        study = self.evaluated
        answers = study.evaluations(progress=False)
        return lambda: conclude(study.config, study.store, study.runs, answers, study.caveats)

    def _report(self) -> Call:
        results = self.evaluated.evaluate(progress=False)
        return lambda: write_study(results, self.evaluated.config.out)

    def _status(self) -> None:
        from morefromless.report.status import show_status

        show_status(self.evaluated.config.out)

    def _explain(self) -> None:
        from morefromless.analysis.explain import explain
        from morefromless.report import disagreements

        a, b = (
            next(run.out for run in self.evaluated.runs if run.arm.kind == kind)
            for kind in ("asymmetric", "symmetric")
        )
        config = {"run_a": a, "run_b": b, "out": self.folder / "explained", "device": "cpu"}
        disagreements.write(explain(from_flat(ExplainConfig, config)))

    def _represent(self) -> None:
        from morefromless.analysis.represent import represent
        from morefromless.report import similarities

        config = {"study": self.evaluated.config.out, "device": "cpu"}
        similarities.write(represent(from_flat(RepresentConfig, config)))


def _silent(command: Callable[[], None]) -> Call:
    def call() -> None:
        with contextlib.redirect_stdout(io.StringIO()), progress.use_mode("quiet"):
            command()

    return call
