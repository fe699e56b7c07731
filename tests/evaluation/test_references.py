"""Published encoders as additional rows of a study's tables."""

from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch.nn.functional import interpolate

from morefromless.data.store import Store
from morefromless.errors import ConfigError
from morefromless.evaluation.metrics import score
from morefromless.evaluation.references import check_references, load_references
from morefromless.evaluation.results import Results
from morefromless.probes.softmax import fit_linear_probe
from morefromless.report import figures, notes, tables
from morefromless.report.report import write_report
from morefromless.report.study import write_study
from morefromless.study import Study
from tests.conftest import changed


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights file in the format that timm publishes."""
    torch.manual_seed(5)
    path = tmp_path_factory.mktemp("weights") / "published.safetensors"
    network = timm.create_model("test_resnet", num_classes=0)
    save_file(network.state_dict(), path, metadata={"mean": "[0.5]", "std": "[0.25]"})
    return path


@pytest.fixture(scope="module")
def results_with_reference(study: Study, weights: Path) -> Results:
    config = changed(study.config, references=[f"test_resnet:weights={weights}"])
    return Study.of(config, study.store).evaluate(progress=False)


def plain_accuracy(weights: Path, store: Store) -> float:
    """Features of the whole patches with timm and PyTorch only, at the network's own size."""
    network = timm.create_model("test_resnet", num_classes=0, checkpoint_path=weights).eval()
    images = torch.from_numpy(store.array("he").copy()).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        features = network((interpolate(images, size=160, mode="bilinear") - 0.5) / 0.25)
    train, test = store.indices("train"), store.indices("test")
    labels = torch.from_numpy(store.labels)
    probe = fit_linear_probe(features[train], labels[train], len(store.classes), epochs=20)
    return score(probe.probabilities(features[test]), store.labels[test]).values["accuracy"]


def test_reference_is_evaluated_and_changes_no_other_rows(
    results_with_reference: Results, results: Results, study: Study, weights: Path
) -> None:
    rows = {s.condition.modality: s for s in results_with_reference.select(lambda c: c.reference)}
    assert list(rows) == ["downsample:4", "full"]
    assert rows["full"].condition.title == "reference: test_resnet (published) at 160 px"
    assert rows["full"].accuracies == (plain_accuracy(weights, study.store),)
    assert rows["full"].resolution == 32  # the stored side, smaller than the encoder's 160
    assert results_with_reference.select(lambda c: not c.reference) == results.summaries
    assert results_with_reference.contrasts == results.contrasts
    table = results_with_reference.to_frame().query("arm == 'reference' and metric == 'accuracy'")
    assert list(table["encoder"]) == ["test_resnet (published) at 160 px"] * 2
    assert set(results_with_reference.to_frame()["arm"]) - set(results.to_frame()["arm"]) == {
        "reference"
    }


def test_tables_figures_and_page_show_references(
    results_with_reference: Results, tmp_path: Path
) -> None:
    write_study(results_with_reference, tmp_path)
    *_, markdown, page = write_report(tmp_path)
    title = "reference: test_resnet (published) at 160 px"
    for text in ((tmp_path / "results.md").read_text(), markdown.read_text(), page.read_text()):
        assert title in text
        assert notes.REFERENCES in text
    [legend] = figures.density(results_with_reference).legends
    assert title.replace(":", ",") in [text.get_text() for text in legend.get_texts()]
    grids = replace(
        results_with_reference,
        config=changed(results_with_reference.config, objectives=["vicreg", "simclr"]),
    )
    sections = {section.title: section for section in tables.report(grids).sections}
    assert sections["References"].header[1:] == ("test_resnet (published) at 160 px",)
    assert figures.panels(results_with_reference).axes


def test_invalid_references_are_refused(study: Study, weights: Path) -> None:
    other_file = weights.with_name("elsewhere") / weights.name
    other_file.parent.mkdir()
    other_file.write_bytes(weights.read_bytes())
    for specs, message in (
        (["test_resnet"], "random weights"),
        ([str(study.runs[0].out)], "is a run"),
        ([f"test_resnet:weights={path}" for path in (weights, other_file)], "would both be called"),
    ):
        with pytest.raises(ConfigError, match=message):
            check_references(changed(study.config, references=specs))


def test_teacher_that_is_also_a_reference_is_one_row(study: Study, weights: Path) -> None:
    options = {"distillation": ["regression"], "teacher_size": 160}
    options["teacher"] = f"test_resnet:weights={weights}"
    config = changed(study.config, references=[options["teacher"]], **options)
    assert [r.title for r in load_references(config)] == ["test_resnet (published) at 160 px"]
    sizes = [r.frozen.size for r in load_references(changed(config, teacher_size=32))]
    assert sizes == [160, 32]
    other_file = weights.with_name("another") / weights.name
    other_file.parent.mkdir()
    other_file.write_bytes(weights.read_bytes())
    with pytest.raises(ConfigError, match="would both be called"):
        check_references(changed(config, teacher=f"test_resnet:weights={other_file}"))
