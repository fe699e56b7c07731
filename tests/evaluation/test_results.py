"""The results of a study: the tidy table, saving and loading."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from morefromless.errors import ConfigError
from morefromless.evaluation import metrics
from morefromless.evaluation.metrics import confusion_metric, probability_metric
from morefromless.evaluation.paired import holm
from morefromless.evaluation.results import COLUMNS, Results
from morefromless.report.study import write_study
from morefromless.runner import save_planned
from morefromless.runs import PLANNED_FILE
from morefromless.study import Study


def test_results_are_saved_and_loaded(results: Results, tmp_path: Path) -> None:
    results.save(tmp_path)
    loaded = Results.load(str(tmp_path))  # as the documentation types it
    for field in fields(Results):
        if field.name in ("table", "curves"):
            pd.testing.assert_frame_equal(getattr(loaded, field.name), getattr(results, field.name))
        else:
            assert getattr(loaded, field.name) == getattr(results, field.name), field.name


def test_table_has_a_row_per_run_branch_task_and_metric(results: Results, study: Study) -> None:
    table = results.to_frame()
    assert tuple(table.columns) == COLUMNS
    trained = table[table["run"] != ""]
    assert set(trained["run"]) == {run.out.name for run in study.runs}
    # Each arm on the primary, and the privileged branch of the asymmetric arm.
    assert len(trained) == 4 * 2 * len(results.summaries[0].means)
    assert set(table["metric"]) >= {"accuracy", "balanced_accuracy", "macro_f1", "ece"}
    assert set(table[table["run"] == ""]["arm"]) == {
        "majority",
        "mean-rgb",
        "colour-histogram",
        "random encoder",
    }


def test_summaries_and_contrasts_match_the_table(results: Results, study: Study) -> None:
    table = results.table[results.table["metric"] == "accuracy"]
    for summary in results.summaries:
        c = summary.condition
        rows = table[(table["arm"] == c.arm) & (table["modality"] == c.modality)]
        assert summary.accuracies == tuple(rows["value"])
        assert summary.accuracy.estimate == pytest.approx(rows["value"].mean())
        assert summary.accuracy.low <= summary.accuracy.estimate <= summary.accuracy.high
        assert summary.accuracy.unit == "group"  # patients are known here
        pixels = {"full": 32, "downsample:4": 4}[c.modality]
        assert results.data.um_per_px is not None
        assert summary.um_per_px == pytest.approx(results.data.um_per_px * 32 / pixels)
        assert np.sum(summary.confusion) == len(rows) * results.data.patches["test"]
    accuracy = {s.condition: s.accuracy.estimate for s in results.summaries}
    for contrast in results.contrasts:
        assert contrast.difference.unit == "group"
        points = accuracy[contrast.a] - accuracy[contrast.b]
        assert contrast.difference.estimate == pytest.approx(points)
    first_conditions = [(s.condition.arm, s.condition.modality) for s in results.summaries]
    assert first_conditions[:4] == [
        ("asymmetric", "downsample:4"),
        ("symmetric", "downsample:4"),
        ("supervised", "downsample:4"),
        ("asymmetric", "full"),
    ]
    test_patches = study.store.table[study.store.table["split"] == "test"]
    assert results.data.groups == test_patches["group"].nunique()
    names = [contrast.name for contrast in results.contrasts]
    assert names == ["asymmetric - symmetric, both shared", "asymmetric shared - supervised"]
    assert [c.holm_p for c in results.contrasts] == holm([c.p for c in results.contrasts])
    assert set(results.curves["run"]) == {run.name for run in results.runs}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("results.json", "{"),
        ("results.json", "[]"),
        ("results.json", "null"),
        ("results.json", '{"config": 7}'),
        ("results.json", '{"colour": 7}'),
        ("results.csv", ""),
    ],
)
def test_damaged_results_are_refused(
    results: Results, tmp_path: Path, name: str, content: str
) -> None:
    results.save(tmp_path)
    (tmp_path / name).write_text(content)
    with pytest.raises(ConfigError):
        Results.load(tmp_path)


@pytest.mark.parametrize("name", ["config", "summaries", "contrasts", "data", "runs", "caveats"])
@pytest.mark.parametrize("value", [7, "text", [1], {"a": 1}])
def test_invalid_types_are_refused(results: Results, tmp_path: Path, name: str, value: Any) -> None:
    results.save(tmp_path)
    path = tmp_path / "results.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))
    with pytest.raises(ConfigError):
        Results.load(tmp_path)


def test_a_folder_without_results_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"contains no results .* give a folder"):
        Results.load(tmp_path)
    save_planned([], tmp_path)  # interrupted before the first run began
    with pytest.raises(ConfigError, match=r"contains no results .* mfl compare has not written"):
        Results.load(tmp_path)
    (tmp_path / PLANNED_FILE).unlink()
    (tmp_path / "runs").mkdir()
    with pytest.raises(ConfigError, match=r"contains no results .* mfl compare has not written"):
        Results.load(tmp_path)


def test_undefined_metric_is_empty(
    study: Study, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(metrics, "CONFUSION_METRICS", metrics.CONFUSION_METRICS.copy())
    monkeypatch.setattr(
        "morefromless.evaluation.summaries.CONFUSION_METRICS", metrics.CONFUSION_METRICS
    )

    @confusion_metric
    def precision_of_last(confusion: Any) -> Any:
        with np.errstate(invalid="ignore"):
            return confusion[..., -1, -1] / confusion[..., -1].sum(-1)

    results = study.evaluate(progress=False)
    majority = next(s for s in results.summaries if s.condition.arm == "majority")
    assert np.isnan(majority.means["precision_of_last"])  # it never predicts the last class
    write_study(results, tmp_path)
    parsed = json.loads((tmp_path / "results.json").read_text(), parse_constant=pytest.fail)
    assert None in [s["means"]["precision_of_last"] for s in parsed["summaries"]]
    loaded = Results.load(tmp_path)
    pd.testing.assert_frame_equal(loaded.table, results.table)
    loaded_majority = next(s for s in loaded.summaries if s.condition.arm == "majority")
    np.testing.assert_equal(loaded_majority.means, majority.means)
    bounds = (vars(s.intervals["precision_of_last"]) for s in (loaded_majority, majority))
    np.testing.assert_equal(*bounds)
    lines = (tmp_path / "results.md").read_text().splitlines()
    assert " – |" in next(line for line in lines if line.startswith("| floor: majority |"))


def test_metric_is_added_with_one_function(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "CONFUSION_METRICS", metrics.CONFUSION_METRICS.copy())
    monkeypatch.setattr(metrics, "PROBABILITY_METRICS", metrics.PROBABILITY_METRICS.copy())
    monkeypatch.setattr(
        "morefromless.evaluation.summaries.CONFUSION_METRICS", metrics.CONFUSION_METRICS
    )

    @confusion_metric
    def errors(confusion: Any) -> Any:
        return 1 - metrics.accuracy(confusion)

    @probability_metric
    def confidence(probabilities: Any, labels: Any) -> float:
        del labels
        return float(probabilities.max(1).mean())

    results = study.evaluate(progress=False)
    assert {"errors", "confidence"} <= set(results.table["metric"])
    for summary in results.summaries:
        assert summary.intervals["errors"].estimate == pytest.approx(1 - summary.accuracy.estimate)
        assert 0 < summary.means["confidence"] <= 1
