"""Frozen encoders: loaded without a store, the same features as a plain loop."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from morefromless.config import Probe
from morefromless.data.store import Store
from morefromless.errors import ConfigError, DataError, TrainingError
from morefromless.evaluation.evaluate import answer_of, evaluate
from morefromless.evaluation.frozen import CHUNK, load_encoders, random_encoder
from morefromless.runs import Run

PROBE = Probe(probe_epochs=5)


@pytest.fixture
def copy(trained: dict[str, Run], tmp_path: Path) -> dict[str, Run]:
    """The runs in another place, and their store is not looked for."""
    return {
        kind: Run(Path(shutil.copytree(run.path, tmp_path / kind))) for kind, run in trained.items()
    }


def test_features_are_those_of_a_plain_loop_wherever_the_run_lies(
    copy: dict[str, Run], tissue: Store
) -> None:
    encoders = load_encoders(copy["asymmetric"])
    assert list(encoders) == ["primary", "privileged"]
    assert encoders["primary"].modality_spec == "downsample:4"
    assert encoders["privileged"].folder == copy["asymmetric"].path
    rows = tissue.indices("test")
    for frozen in encoders.values():
        images = frozen.modality.render(
            torch.from_numpy(np.array(tissue.array("he")[rows])), frozen.size
        )
        frozen.encoder.eval()
        with torch.no_grad():
            expected = torch.cat([frozen.encoder(image[None]) for image in images])
        features = frozen.features(tissue, "test")
        torch.testing.assert_close(features, expected, rtol=1e-3, atol=1e-4)
        assert CHUNK > len(rows) > 0


def test_what_is_cached_is_bound_to_the_weights(copy: dict[str, Run], tissue: Store) -> None:
    first, other = copy["asymmetric"], copy["symmetric"]
    expected = evaluate(first, tissue, PROBE)[0].probabilities
    theirs = evaluate(other, tissue, PROBE)[0].probabilities
    assert not np.array_equal(expected, theirs)
    name = "predictions-primary-5-0.001.safetensors"
    (name,) = {path.name for path in first.path.glob("predictions-primary-linear-5-*")}
    shutil.copy(other.path / name, first.path / name)  # another run's predictions
    np.testing.assert_array_equal(evaluate(first, tissue, PROBE)[0].probabilities, expected)
    for path in first.path.glob("features/*"):
        path.write_bytes(path.read_bytes()[:100])
    (first.path / name).unlink()
    again = evaluate(first, tissue, PROBE)[0].probabilities
    np.testing.assert_array_equal(again, expected)


def test_weights_of_another_run_or_damaged_ones_are_refused(copy: dict[str, Run]) -> None:
    first, other = copy["asymmetric"], copy["symmetric"]
    mine = first.weights_path.read_bytes()
    shutil.copy(other.weights_path, first.weights_path)
    with pytest.raises(TrainingError):
        load_encoders(first)
    turned = bytearray(mine)
    turned[-5] ^= 1
    first.weights_path.write_bytes(turned)
    with pytest.raises(TrainingError):
        load_encoders(first)


def test_other_data_or_no_such_branch_are_refused(
    copy: dict[str, Run], tissue: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="'twin', only primary"):
        answer_of(copy["asymmetric"], "twin", tissue, PROBE, "tissue")
    monkeypatch.setattr(Store, "hash", "another")
    with pytest.raises(DataError):
        evaluate(copy["asymmetric"], tissue, PROBE)


def test_a_supervised_arm_answers_its_task_with_its_head(
    copy: dict[str, Run], tissue: Store
) -> None:
    run = copy["supervised"]
    (answer,) = evaluate(run, tissue, PROBE)
    weights = load_file(run.weights_path)
    torch.testing.assert_close(answer.probe.weight, weights["head.weight"])
    expected = torch.softmax(
        answer.classifier(answer.frozen.render(tissue, tissue.indices("test"))), dim=1
    )
    np.testing.assert_allclose(answer.probabilities, expected.detach(), rtol=1e-3, atol=1e-4)
    assert not answer.frozen.answers_itself("cell")


def test_a_random_encoder_has_none_of_the_weights_that_are_named(tmp_path: Path) -> None:
    plain = random_encoder("test_resnet", "full", 32, 0, tmp_path)
    file = tmp_path / "weights.safetensors"
    save_file({k: v + 1 for k, v in plain.encoder.state_dict().items()}, file)
    for spec in (f"test_resnet:weights={file}", "test_resnet:pretrained=true"):
        assert random_encoder(spec, "full", 32, 0, tmp_path).fingerprint == plain.fingerprint
    assert random_encoder("test_resnet", "full", 32, 1, tmp_path).fingerprint != plain.fingerprint
