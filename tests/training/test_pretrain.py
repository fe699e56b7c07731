"""Training of frozen and bare branches, of other architectures, in parts, and on vectors."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from morefromless.branch_plans import plan_branches
from morefromless.branches import Branches
from morefromless.config import Probe, RunConfig
from morefromless.data.store import Store
from morefromless.encoders import Encoder
from morefromless.errors import ConfigError, DataError
from morefromless.evaluation.evaluate import evaluate
from morefromless.evaluation.frozen import FrozenEncoder
from morefromless.evaluation.loading import load_encoders
from morefromless.ingest import ingest
from morefromless.objectives import Loss, Objective
from morefromless.report import figures, tables
from morefromless.runner import run_all
from morefromless.sources.synthetic import Synthetic
from morefromless.study import Study
from morefromless.training.partial import embed_in_parts
from morefromless.training.pretrain import pretrain
from morefromless.training.supervised import supervise
from tests.conftest import changed, run_config, study_config

PROBE = Probe(probe_epochs=5, standardise=True)
HERE = "tests.training.test_pretrain"


class Distance(Objective):
    """Example of a user's objective: mean squared distance of two branches, and a spread."""

    min_rows = 2
    n_branches = 2

    def __init__(self, spread: float = 1.0) -> None:
        super().__init__()
        self.spread = spread

    def compute(self, embeddings: list[Tensor]) -> Loss:
        first, second = embeddings
        near = (first - second).square().mean()
        wide = sum((1 - z.std(dim=0)).clamp(min=0).mean() for z in embeddings)
        return Loss(near + self.spread * wide, {"near": near, "wide": torch.as_tensor(wide)})


class Plain(Encoder):
    """An encoder from outside the package, without BatchNorm."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.width = 16
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 16, 5, stride=4), nn.GELU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)


class WithExpression(Synthetic):
    """Synthetic tissue, and a noisy vector per patch that encodes its tissue."""

    def read(self, item: Any) -> Any:
        arrays = super().read(item)
        rng = np.random.default_rng(int.from_bytes(item.id.encode()[-6:]))
        class_index = list(self.datasheet().classes).index(item.label)
        values = rng.normal(0, 0.3, 12).astype(np.float32)
        values[class_index] += 2
        return {**arrays, "expression": values}


@pytest.fixture(scope="module")
def spots(tmp_path_factory: pytest.TempPathFactory) -> Store:
    path = tmp_path_factory.mktemp("stores") / "spots"
    source = WithExpression(patches=120, patients=8, size=32)
    ingest(source, path, progress=False, workers=1)
    return Store.open(path)


@pytest.fixture
def teacher(tissue: Store, tmp_path: Path) -> Path:
    """Weights of a short supervised run on whole patches."""
    options = run_config(
        tissue.path, tmp_path / "teacher", kind="supervised", epochs=1, primary="full"
    )
    return supervise(options).weights_path


def test_frozen_branch_stays_unchanged(
    pretraining: RunConfig, tissue: Store, teacher: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = 0
    represent = FrozenEncoder.represent

    def counting(*args: Any, **kwargs: Any) -> Tensor:
        nonlocal runs
        runs += 1
        return represent(*args, **kwargs)

    monkeypatch.setattr(FrozenEncoder, "represent", counting)
    options = changed(
        pretraining, privileged_encoder=f"test_resnet:weights={teacher}", freeze=("privileged",)
    )
    run = pretrain(options)
    assert runs == 1
    before = load_file(teacher)
    after = {
        key.removeprefix("branches.by_key.privileged."): value
        for key, value in load_file(run.weights_path).items()
        if key.startswith("branches.by_key.privileged.encoder.")
    }
    assert len(after) > 20
    for key, value in after.items():  # including BatchNorm's statistics
        assert torch.equal(value, before[key]), key
    teacher.unlink()  # the run does not need the teacher's file
    cached = load_file(run.path / "features" / "privileged-train.safetensors")["features"]
    recomputed = load_encoders(run)["privileged"].represent(tissue, tissue.indices("train"))
    torch.testing.assert_close(cached, recomputed, rtol=1e-4, atol=1e-5)
    assert {result.frozen.name for result in evaluate(run, tissue, PROBE)} == {
        "primary",
        "privileged",
    }


def test_branch_without_expander_embeds_its_representation(
    pretraining: RunConfig, tissue: Store
) -> None:
    width = Branches(plan_branches(pretraining), 8)["primary"].encoder.width
    run = pretrain(changed(pretraining, no_expander=("privileged",), width=width))
    names = list(load_file(run.weights_path))
    assert not [name for name in names if name.startswith("branches.by_key.privileged.expander")]
    assert [name for name in names if name.startswith("branches.by_key.primary.expander")]
    assert len(evaluate(run, tissue, PROBE)) == 2
    with pytest.raises(ConfigError, match=f"give --width {width}"):
        pretrain(changed(pretraining, no_expander=("privileged",), out=pretraining.out / "other"))


def test_two_architectures_are_loaded_from_their_run(pretraining: RunConfig) -> None:
    run = pretrain(changed(pretraining, privileged_encoder="test_vit"))
    assert (run.record.options["encoder"], run.record.options["privileged_encoder"]) == (
        "test_resnet",
        "test_vit",
    )
    encoders = load_encoders(run)
    assert {name: type(frozen.encoder.network).__name__ for name, frozen in encoders.items()} == {
        "primary": "ResNet",
        "privileged": "VisionTransformer",
    }


def _gradients(branches: Branches, images: dict[str, Tensor], parts: int) -> dict[str, Tensor]:
    branches.zero_grad()
    objective = Distance()
    loss = objective(list(embed_in_parts(branches, images, parts, {}).values())).total
    loss.backward()
    gradients = {
        name: p.grad.clone() for name, p in branches.named_parameters() if p.grad is not None
    }
    return {"loss": loss.detach(), **gradients}


@pytest.mark.parametrize("parts", [2, 4, 3])
def test_divided_batch_has_the_gradients_of_the_undivided_batch(
    pretraining: RunConfig, parts: int
) -> None:
    """Exact without BatchNorm, for any objective; 3 does not divide 16."""
    torch.manual_seed(0)
    plain = changed(pretraining, encoder=f"{HERE}:Plain:", no_expander=("primary", "privileged"))
    branches = Branches(plan_branches(plain), 16).double()
    images = {name: torch.rand(16, 3, 32, 32).double() for name in ("primary", "privileged")}
    undivided, divided = _gradients(branches, images, 1), _gradients(branches, images, parts)
    assert len(undivided) == 5
    for name, value in undivided.items():
        torch.testing.assert_close(divided[name], value, rtol=1e-9, atol=1e-12)
    part_losses = [  # the mean of the losses of the parts would differ
        _gradients(branches, {n: x[rows] for n, x in images.items()}, 1)["loss"]
        for rows in torch.arange(16).chunk(parts)
    ]
    assert not torch.allclose(torch.stack(part_losses).mean(), undivided["loss"])


def test_accumulate_counts_batch_norm_statistics_per_part(pretraining: RunConfig) -> None:
    run = pretrain(changed(pretraining, accumulate=4, epochs=1))
    assert run.done
    assert run.record.options["accumulate"] == 4
    counts = {int(n) for name, n in run.weights().items() if name.endswith("batches_tracked")}
    assert counts == {4 * 4}  # four steps of four parts, each counted once
    with pytest.raises(ConfigError, match="--accumulate 32"):
        pretrain(changed(pretraining, accumulate=32, out=pretraining.out / "other"))


def test_vector_branch_is_trained_with_an_image_branch(spots: Store, tmp_path: Path) -> None:
    assert spots.array("expression").shape == (len(spots.table), 12)
    options = run_config(
        spots.path,
        tmp_path / "run",
        primary="full",
        privileged="vector:12",
        privileged_encoder="mlp:hidden=32",
    )
    run = pretrain(options)
    longer = Probe(probe_epochs=300, standardise=True)
    results = {evaluation.frozen.name: evaluation for evaluation in evaluate(run, spots, longer)}
    assert set(results) == {"primary", "privileged"}
    assert results["privileged"].scores.values["accuracy"] > 0.8  # the vector encodes the tissue


def test_study_compares_vector_views(spots: Store, tmp_path: Path) -> None:
    options = study_config(
        spots.path,
        tmp_path / "compare",
        primary=["full"],
        privileged="vector:12",
        privileged_encoder="mlp",
        sharing=["independent"],
        seeds=1,
        width=32,
        epochs=1,
    )
    study = Study.of(options)
    run_all(study.runs, 1)
    results = study.evaluate(progress=False)
    arms = {summary.condition.arm for summary in results.summaries}
    assert arms >= {"asymmetric", "symmetric", "supervised"}
    assert arms >= {"majority", "mean-rgb", "random encoder"}
    paths = [*tables.write(results, options.out), *figures.write(results, options.out)]
    assert all(path.stat().st_size > 100 for path in paths)


def test_user_objective_trains_and_keeps_its_name(pretraining: RunConfig, tissue: Store) -> None:
    run = pretrain(changed(pretraining, objective=f"{HERE}:Distance:spread=0.5", epochs=5))
    assert run.record.options["objective"] == f"{HERE}:Distance:spread=0.5"
    logged = pd.read_csv(run.path / "logs" / "csv" / "version_0" / "metrics.csv")
    assert {"term/near", "term/wide"} <= set(logged)
    assert logged["term/near"].notna().any()
    assert len(evaluate(run, tissue, PROBE)) == 2


def test_two_branch_objective_refuses_three_branches(pretraining: RunConfig) -> None:
    options = changed(
        pretraining, kind="trident", objective=f"{HERE}:Distance:", primary="downsample:4"
    )
    with pytest.raises(ConfigError, match="Distance compares 2 branches, not 3"):
        pretrain(options)
    assert not options.out.exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"batch": 1}, "--batch 1"),
        ({"freeze": ("privileged",)}, "random weights, which are never trained"),
        ({"sharing": "shared", "privileged_encoder": "test_vit"}, "two architectures"),
        ({"encoder": "mlp"}, "does not accept images of 32 x 32 px"),
        ({"encoder": "swin_tiny_patch4_window7_224"}, "does not accept images of 32 x 32 px"),
        ({"privileged": "vector:12"}, "expression"),
    ],
)
def test_invalid_options_are_refused_before_training(
    pretraining: RunConfig, given: dict[str, Any], message: str
) -> None:
    with pytest.raises((ConfigError, DataError), match=message):
        pretrain(changed(pretraining, **given))
    assert not pretraining.out.exists()
