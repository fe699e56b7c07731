"""The package as a library: public names, `repr` of objects, invalid arguments."""

from pathlib import Path

import pytest

import morefromless
from morefromless.config import StudyConfig
from morefromless.data.store import Store
from morefromless.errors import ConfigError
from morefromless.evaluation.frozen import random_encoder
from morefromless.runs import Run
from morefromless.study import Study
from tests.conftest import study_config
from tests.report.handmade import results


def test_public_names_exist_and_are_listed() -> None:
    assert {"compare", "embed", "ingest", "load_encoder", "predict", "Study"} <= set(
        dir(morefromless)
    )
    for name in morefromless.__all__:
        assert getattr(morefromless, name)
    with pytest.raises(AttributeError, match="has no attribute 'embd'"):
        _ = morefromless.embd


def test_ingest_is_the_function_after_importing_the_package(tmp_path: Path) -> None:
    for _ in range(2):  # the second time, the package `morefromless.ingest` was imported
        report = morefromless.ingest(
            "synthetic:patches=60,size=32", tmp_path / "store", progress=False
        )
    assert report.accepted == 60


def test_repr_describes_the_object(tissue: Store, tmp_path: Path) -> None:
    path = str(tissue.path)
    assert repr(tissue) == f"Store({path!r}: 135 train, 45 test; he, nuclei; 9 classes)"
    frozen = random_encoder("test_resnet", "downsample:4", 32, 0, tmp_path)
    assert repr(frozen) == "FrozenEncoder(random encoder: downsample:4 at 32 px -> 96 features)"
    config = study_config(tissue.path, tmp_path / "study", sharing=["shared"], seeds=1)
    study = Study.of(config, tissue)
    assert repr(study) == f"Study({path!r}: 3 runs, 0 done)"
    run = Run(study.runs[0].out)
    assert repr(run) == f"Run({str(run.path)!r}: waiting)"
    assert repr(results()) == "Results(5 conditions evaluated on tissue: 2 runs on Own patches)"


def test_string_instead_of_a_list_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"tasks is the text 'tissue'; give .*\('tissue',\)"):
        StudyConfig(store=Path("store"), tasks="tissue")  # type: ignore[arg-type]


def test_paths_may_be_strings(tissue: Store, tmp_path: Path) -> None:
    config = StudyConfig(store=str(tissue.path), out=str(tmp_path))  # type: ignore[arg-type]
    assert config.runs_folder == tmp_path / "runs"
    assert repr(Store.open(str(tissue.path))) == repr(tissue)
    table = results()
    table.save(str(tmp_path / "saved"))
    assert repr(morefromless.Results.load(str(tmp_path / "saved"))) == repr(table)


def test_untrained_study_is_not_evaluated(tissue: Store, tmp_path: Path) -> None:
    study = Study.of(study_config(tissue.path, tmp_path, sharing=["shared"], seeds=1), tissue)
    with pytest.raises(ConfigError, match=r"holds no run \(run.json is missing\)"):
        study.evaluate(progress=False)
    Run.begin(study.runs[0], tissue.hash)
    with pytest.raises(ConfigError, match="is not finished; run its command again"):
        study.evaluate(progress=False)


def test_repr_of_answers_and_probes_is_one_line(trained: dict[str, Run], tissue: Store) -> None:
    probe = morefromless.config.Probe(probe_epochs=2)
    [answer] = morefromless.evaluate(trained["symmetric"], tissue, probe)
    assert "LinearProbe(96 features -> 9 classes)" in repr(answer)
    calibrated = morefromless.calibrate(answer.frozen, tissue, probe, "tissue")
    assert repr(calibrated).startswith("CalibratedProbe(9 classes, temperature ")
    assert "\n" not in repr(answer) + repr(calibrated)
