"""The package as a library: public names, what things say of themselves, wrong arguments."""

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


def test_every_public_name_is_shown_and_there() -> None:
    assert {"compare", "embed", "ingest", "load_encoder", "predict", "Study"} <= set(
        dir(morefromless)
    )
    for name in morefromless.__all__:
        assert getattr(morefromless, name)
    with pytest.raises(AttributeError, match="has no attribute 'embd'"):
        _ = morefromless.embd


def test_ingest_is_the_function_however_it_was_imported(tmp_path: Path) -> None:
    for _ in range(2):  # the second time, the package `morefromless.ingest` was imported
        report = morefromless.ingest(
            "synthetic:patches=60,size=32", tmp_path / "store", progress=False
        )
    assert report.accepted == 60


def test_things_say_what_they_are(tissue: Store, tmp_path: Path) -> None:
    path = str(tissue.path)
    assert repr(tissue) == f"Store({path!r}: 135 train, 45 test; he, nuclei; 9 classes)"
    frozen = random_encoder("test_resnet", "downsample:4", 32, 0, tmp_path)
    assert repr(frozen) == "FrozenEncoder(random encoder: downsample:4 at 32 px -> 96 features)"
    config = study_config(tissue.path, tmp_path / "study", sharing=["shared"], seeds=1)
    study = Study.of(config, tissue)
    assert repr(study) == f"Study({path!r}: 3 runs, 0 done)"
    run = Run(study.runs[0].out)
    assert repr(run) == f"Run({str(run.path)!r}: waiting)"
    assert repr(results()) == "Results(5 conditions asked tissue: 2 runs on Own patches)"


def test_one_text_for_several_values_is_named() -> None:
    with pytest.raises(ConfigError, match=r"tasks is the text 'tissue'; give .*\('tissue',\)"):
        StudyConfig(store=Path("store"), tasks="tissue")  # type: ignore[arg-type]
