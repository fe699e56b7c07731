"""The model card of a run of a study, and of a single run."""

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from morefromless import cli
from morefromless.config import Probe
from morefromless.data.store import Store
from morefromless.evaluation.calibration import calibrate
from morefromless.evaluation.loading import load_encoder
from morefromless.evaluation.results import Results
from morefromless.report.model_card import write_card
from morefromless.runs import Run
from morefromless.study import Study


def test_card_lists_scores_of_the_study_and_floors(
    study: Study, results: Results, trained: dict[str, Run], tmp_path: Path
) -> None:
    few_labels = replace(results.config, probe=replace(results.config.probe, labels=0.4))
    replace(results, config=few_labels).save(tmp_path)
    run = trained["asymmetric"]
    path = tmp_path / "runs" / run.path.name
    shutil.copytree(run.path, path)
    assert cli.run(["export", str(path), str(tmp_path / "encoder")]) == 0
    card = (tmp_path / "encoder" / "README.md").read_text()
    (summary,) = results.select(lambda c: c.arm == "asymmetric" and c.modality == "downsample:4")
    accuracy = summary.intervals["accuracy"]
    assert f"| {100 * accuracy.estimate:.1f} [{100 * accuracy.low:.1f}, " in card
    assert "| floor: colour-histogram | tissue |" in card
    assert "symmetric" not in card.replace("asymmetric", "")
    assert f"hash {study.store.hash}" in card
    assert "- Probes and floors use 40 % of the training labels" in card
    assert "32 x 32 px, magnification 3.5 µm per pixel" in card
    unreliable = min(s.accuracy.units for s in results.summaries) < 8
    assert ("† Rough: fewer than 8 groups" in card) == unreliable == ("] †" in card)
    for caveat in results.caveats:
        assert caveat.split(".")[0] in card


def test_run_outside_a_study_has_no_scores(trained: dict[str, Run], tmp_path: Path) -> None:
    run = Path(shutil.copytree(trained["supervised"].path, tmp_path / "a" / "b" / "run"))
    assert cli.run(["export", str(run), str(tmp_path / "encoder")]) == 0
    card = (tmp_path / "encoder" / "README.md").read_text()
    assert "No study that contains this run was found" in card
    assert "trained on the labels of the task tissue" in card


def test_card_states_that_the_head_saw_its_calibration_patches(
    trained: dict[str, Run], tissue: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(trained["supervised"].path, tmp_path / "a" / "b" / "run"))
    probe = calibrate(load_encoder(run), tissue, Probe(), "tissue")
    share = f"{100 * probe.correct.double().mean():.1f} %"
    assert cli.run(["export", str(run), str(tmp_path / "encoder")]) == 0
    card = (tmp_path / "encoder" / "README.md").read_text()
    assert f"right for {share} of the training patches that calibrate it. It was trained" in card
    assert "kept from it" not in card
    options = ["--to", str(tmp_path / "classes.csv"), "--abstain", "0.01"]
    assert cli.run(["predict", str(tmp_path / "encoder"), str(tissue.path), *options]) == 0
    output = " ".join(capsys.readouterr().out.split())
    calibration = f"{len(probe.correct)} calibration"
    assert (
        f"of the {calibration} patches, on which the head was trained too, get a class, which"
        in output
    )
    assert f"than 99 % of the {calibration} patches" in output


def test_card_lists_external_cohorts(
    results: Results,
    trained: dict[str, Run],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    results.save(tmp_path)
    path = tmp_path / "runs" / trained["asymmetric"].path.name
    shutil.copytree(trained["asymmetric"].path, path)
    for folder, title in {
        tmp_path: "Hospital *B*",
        path: "Hospital C",
        tmp_path / "x": "D",
    }.items():
        data = replace(results.data, title=title, groups=3)
        replace(results, data=data).save(folder / "validation-other")
    options = ["--validations", str(tmp_path / "x" / "validation-other")]
    assert cli.run(["export", str(path), str(tmp_path / "encoder"), *options]) == 0
    card = (tmp_path / "encoder" / "README.md").read_text()
    titles = [line for line in card.splitlines() if line.startswith("### External")]
    assert titles == [f"### External cohort: {t}" for t in (r"Hospital \*B\*", "Hospital C", "D")]
    assert card.count("| floor: majority | tissue |") == 4
    assert f"{results.data.patches['test']} patches, 3 groups. Nothing was fitted on it." in card
    unrelated = replace(results, runs=[replace(run, name="other") for run in results.runs])
    unrelated.save(tmp_path / "x" / "validation-other")
    assert cli.run(["export", str(path), str(tmp_path / "none"), *options]) == 2
    assert "holds no results of" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_example_code_runs_unchanged(
    trained: dict[str, Run], tissue: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trained["asymmetric"].path
    assert cli.run(["export", str(run), str(tmp_path / "FOLDER")]) == 0
    monkeypatch.chdir(tmp_path)
    rows = tissue.indices("test")[:3]
    np.save("patches.npy", np.asarray(tissue.array("he")[rows]))
    card = Path("FOLDER/README.md").read_text()
    names: dict[str, Any] = {}
    for example in re.findall(r"```python\n(.*?)```", card, re.DOTALL):
        exec(example, names)
    expected = load_encoder(run).represent(tissue, rows)
    torch.testing.assert_close(names["features"], expected, rtol=1e-5, atol=1e-5)
    assert "# (N, 32, 32, 3) uint8, RGB\n" in card
    assert f"# (N, {expected.shape[1]})\n" in card
    assert names["model"].num_features == expected.shape[1]


@pytest.mark.parametrize(
    ("modality", "patches", "model_input"),
    [
        ("vector:5", "(N, 5) float32", "5 values"),
        ("nuclei:one-hot", "(N, 32, 32, channels), as stored in 'nuclei'", "6 x 32 x 32"),
        ("image:if,channels=4", "(N, 32, 32, channels), as stored in 'if'", "4 x 32 x"),
    ],
)
def test_example_states_the_shape_of_patches(
    modality: str, patches: str, model_input: str, trained: dict[str, Run], tmp_path: Path
) -> None:
    run = trained["asymmetric"].path
    frozen = replace(load_encoder(run), modality_spec=modality)
    card = write_card(frozen, tmp_path, run).read_text()
    assert f"# {patches}\n" in card
    assert f"| input | {model_input}" in card
