"""Students of a frozen teacher: training, cached features, and invalid options."""

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from morefromless.config import StudyConfig
from morefromless.data.store import Store
from morefromless.errors import ConfigError
from morefromless.evaluation.loading import load_encoders
from morefromless.runner import run_all
from morefromless.runs import Run
from morefromless.study import Study
from tests.conftest import changed, run_config, study_config


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A teacher with random weights: these tests do not depend on what it has learned."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("teacher") / "teacher.safetensors"
    save_file(timm.create_model("test_resnet", num_classes=0).state_dict(), path)
    return f"test_resnet:weights={path},mean=0.5,std=0.5"


@pytest.fixture
def students(tissue: Store, tmp_path: Path, teacher: str) -> StudyConfig:
    return study_config(
        tissue.path,
        tmp_path / "compare",
        sharing=["independent"],
        distillation=["regression", "relational", "soft-labels", "attention-transfer"],
        teacher=teacher,
        teacher_size=24,
        epochs=1,
        probe_epochs=1,
        batch=64,
    )


def test_students_are_arms_of_a_comparison(students: StudyConfig, teacher: str) -> None:
    study = Study.of(students)
    run_all(study.runs, 1)
    # The teacher runs once per patch for all objectives and seeds.
    features = list((students.out / "frozen").iterdir())
    assert len(features) == 1
    runs = [run for run in study.runs if run.arm.kind == "distillation"]
    assert len(runs) == 8
    other_runs = [run for run in study.runs if run not in runs]
    assert not any(run.pairing.teacher or run.pairing.teacher_size for run in other_runs)
    weights = load_file(teacher.partition("=")[2].partition(",")[0])
    for run in runs:
        assert list(load_encoders(Run(run.out))) == ["primary"]  # without the teacher
        trained = Run(run.out).weights()
        if run.arm.supervised:  # its teacher runs once, and is not a branch
            assert trained["head.weight"].shape[0] == 9
            continue
        if run.arm.objective == "regression":  # embeddings are as wide as the representation
            assert trained["branches.by_key.primary.expander.6.weight"].shape[0] == 96
        prefix = "branches.by_key.privileged.encoder.network."
        frozen = {k.removeprefix(prefix): v for k, v in trained.items() if k.startswith(prefix)}
        assert frozen
        assert all(torch.equal(value, weights[name]) for name, value in frozen.items())
    results = study.evaluate(progress=False)
    titles = {s.condition.title for s in results.summaries}
    assert {"distillation, regression", "distillation, relational"} <= titles
    teacher_rows = results.select(lambda condition: condition.reference)
    # The teacher itself is evaluated too.
    assert {s.condition.modality for s in teacher_rows} == {"downsample:4", "full"}
    assert all(s.condition.encoder == "test_resnet (teacher) at 24 px" for s in teacher_rows)
    names = [contrast.name for contrast in results.contrasts]
    assert "distillation, regression - symmetric independent" in names


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"teacher": None}, "has no teacher"),
        ({"teacher": "test_resnet"}, "random weights"),
        ({"teacher_size": 64}, "would be 64 px, but the patches of .* have 32"),
        ({"teacher_size": 64, "distillation": ["soft-labels"]}, "would be 64 px"),
        ({"privileged_size": 33}, "would be 33 px"),
        ({"distillation": ["soft-labels:temperature=0"]}, "temperature to be above 0"),
        ({"distillation": ["attention-transfer"], "encoder": "keras-v1"}, "has no stages"),
        ({"distillation": ["regression:l1"]}, "not a valid value for 'distance'"),
        ({"objectives": ["regression"]}, "needs a teacher, but the arm asymmetric has none"),
        ({"batch": 2, "objectives": ["vicreg"]}, "3 or more"),
    ],
)
def test_invalid_options_are_refused(
    students: StudyConfig, options: dict[str, object], sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        Study.of(changed(students, **options))


def test_privileged_branch_may_have_another_size(tissue: Store, tmp_path: Path) -> None:
    from morefromless.training.pretrain import pretrain

    run = pretrain(run_config(tissue.path, tmp_path / "run", privileged_size=16, epochs=1))
    sizes = {name: frozen.size for name, frozen in load_encoders(run).items()}
    assert sizes == {"primary": 32, "privileged": 16}
    with pytest.raises(ConfigError, match="has no teacher"):
        run_config(tissue.path, tmp_path / "other", kind="distillation")
