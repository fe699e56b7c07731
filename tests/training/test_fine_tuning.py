"""Fine-tuning starts from a self-supervised encoder, which is trained only once."""

from dataclasses import replace
from pathlib import Path

import torch

from morefromless.data.store import Store
from morefromless.runner import run_all
from morefromless.runs import Run
from morefromless.study import Study
from morefromless.training.train import train
from tests.conftest import run_config, study_config


def test_study_fine_tunes_its_own_encoders(tissue: Store, tmp_path: Path) -> None:
    options = {"sharing": ["independent"], "seeds": 1, "epochs": 1, "batch": 64, "probe_epochs": 1}
    study = Study.of(study_config(tissue.path, tmp_path / "study", fine_tune=True, **options))
    run_all(study.runs, 1)
    runs = {run.arm.words: Run(run.out) for run in study.runs}
    assert len(runs) == 5
    for start in ("asymmetric", "symmetric"):
        tuned = runs["fine-tuned", start, "independent"]
        assert not (tuned.path / "self-supervised").exists()
        assert tuned.fingerprint != runs[("supervised",)].fingerprint
    results = study.evaluate(progress=False)
    assert {s.condition.title for s in results.summaries if s.head} == {
        "supervised",
        "fine-tuned, asymmetric, independent",
        "fine-tuned, symmetric, independent",
    }
    names = {contrast.name for contrast in results.contrasts}
    assert "fine-tuned: asymmetric - symmetric, both independent" in names
    assert "fine-tuned asymmetric independent - supervised" in names


def test_fine_tuning_is_supervised_training_from_pretrained_weights(
    tissue: Store, tmp_path: Path
) -> None:
    options = {"epochs": 1, "batch": 64}
    config = run_config(
        tissue.path, tmp_path / "run", kind="fine-tuned", fine_tune_epochs=2, **options
    )
    tuned = train(config)
    first = tuned.path / "self-supervised"
    assert Run(first).config.arm == config.arm.pretraining_arm
    assert Run(first).config.train.epochs == 1
    options["epochs"] = 2
    options["encoder"] = f"test_resnet:weights={first / 'weights.safetensors'}"
    supervised = train(
        run_config(tissue.path, tmp_path / "other", kind="supervised", **options)
    ).weights()
    weights = tuned.weights()
    assert all(torch.equal(weights[name], value) for name, value in supervised.items())
    symmetric_arm = replace(config.arm, privileged=config.arm.primary)
    assert symmetric_arm.words == ("fine-tuned", "symmetric", "independent")
    assert replace(config, arm=symmetric_arm).identity() != config.identity()
