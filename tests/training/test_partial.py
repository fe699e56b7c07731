"""Training on stores in which some patches have no privileged view."""

from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from morefromless.branch_plans import plan_branches
from morefromless.branches import Branches
from morefromless.config import Probe, RunConfig
from morefromless.data.store import Store
from morefromless.errors import ConfigError
from morefromless.evaluation.evaluate import evaluate
from morefromless.identity import run_key
from morefromless.ingest import ingest
from morefromless.objectives import Objective
from morefromless.objectives.barlow_twins import BarlowTwins
from morefromless.objectives.clip import Clip
from morefromless.objectives.simclr import SimCLR
from morefromless.objectives.vicreg import VICReg
from morefromless.objectives.vse import Vse
from morefromless.pairs import Pair
from morefromless.runner import run_all
from morefromless.runs import Run
from morefromless.sources.synthetic import Synthetic
from morefromless.study import Study
from morefromless.training.checks import available_views, training_rows
from morefromless.training.partial import embed, pairwise_loss
from morefromless.training.pretrain import pretrain
from tests.conftest import changed, run_config, study_config

PROBE = Probe(probe_epochs=5, standardise=True)


class Stained(Synthetic):
    """Synthetic tissue with a second stain, which is missing for every third patch."""

    def datasheet(self) -> Any:
        return replace(super().datasheet(), optional=frozenset({"ihc"}), scheme=None)

    def read(self, item: Any) -> Any:
        he = super().read(item)["he"]
        number = next(i for i, listed in enumerate(self.items()) if listed.id == item.id)
        return {"he": he} if number % 3 == 2 else {"he": he, "ihc": 255 - he}


@pytest.fixture(scope="module")
def stained(tmp_path_factory: pytest.TempPathFactory) -> Store:
    path = tmp_path_factory.mktemp("stores") / "stained"
    source = Stained(patches=150, patients=10, size=32)
    ingest(source, path, progress=False, workers=1, missing="keep")
    return Store.open(path)


@pytest.fixture
def options(stained: Store, tmp_path: Path) -> RunConfig:
    return run_config(
        stained.path, tmp_path / "run", primary="full:he", privileged="full:ihc", width=16
    )


def test_patches_with_both_views_are_pairs(stained: Store, options: RunConfig) -> None:
    paired = stained.select("he", "ihc")
    assert 0 < len(paired.indices("train")) < len(stained.indices("train"))
    run = pretrain(changed(options, probe_every=1))
    assert run.record.facts["steps"] == 2 * (len(paired.indices("train")) // 32)
    results = {evaluation.frozen.name: evaluation for evaluation in evaluate(run, stained, PROBE)}
    # every branch is evaluated on all patches that have its view
    assert len(results["primary"].probabilities) == len(stained.indices("test"))
    assert len(results["privileged"].probabilities) == len(paired.indices("test"))


def test_trident_trains_on_incomplete_pairs(stained: Store, options: RunConfig) -> None:
    run = pretrain(changed(options, kind="trident", missing="pairs"))
    train_count = len(stained.indices("train"))
    assert run.record.facts["steps"] == 2 * (train_count // 32)
    dropped = pretrain(changed(options, kind="trident", out=options.out.with_name("dropped")))
    assert dropped.record.facts["steps"] < run.record.facts["steps"]
    assert len(evaluate(run, stained, PROBE)) == 2


def test_seed_draws_the_share_of_pairs(stained: Store, options: RunConfig) -> None:
    pair = Pair(options.arm.modalities, "plain", 32)
    train, has = stained.indices("train"), stained.has("ihc")
    row_sets = []
    for share in (0.5, 0.25):
        available = available_views(stained, pair, changed(options, pairs=share))
        rows = training_rows(stained, available, options)
        assert len(rows) == round(share * has[train].sum())
        assert has[rows].all()
        assert set(rows) <= set(train)
        row_sets.append(set(rows))
    assert row_sets[1] < row_sets[0]  # a subset of the same patches
    other_seed = available_views(stained, pair, changed(options, pairs=0.5, seed=1))
    assert set(training_rows(stained, other_seed, options)) != row_sets[0]
    trident = changed(options, pairs=0.5, kind="trident", missing="pairs")
    available = available_views(stained, Pair(trident.arm.modalities, "plain", 32), trident)
    assert len(training_rows(stained, available, trident)) == len(train)
    run = pretrain(changed(options, pairs=0.5))
    assert run.record.facts["steps"] == 2 * (len(row_sets[0]) // 32)


def test_frozen_branch_may_miss_a_view(stained: Store, options: RunConfig) -> None:
    teacher = pretrain(changed(options, kind="symmetric", primary="full:ihc"))
    run = pretrain(
        changed(
            options,
            out=options.out.with_name("student"),
            kind="trident",
            missing="pairs",
            privileged_encoder=f"test_resnet:weights={teacher.weights_path}",
            freeze=("privileged",),
        )
    )
    features = load_file(run.path / "features" / "privileged-train.safetensors")["features"]
    assert len(features) == len(stained.select("ihc").indices("train"))
    assert len(evaluate(run, stained, PROBE)) == 2


def test_comparison_reports_the_number_of_pairs(stained: Store, tmp_path: Path) -> None:
    options = study_config(
        stained.path,
        tmp_path / "compare",
        primary=["full:he"],
        privileged="full:ihc",
        sharing=["independent"],
        seeds=1,
        width=16,
        trident=True,
        missing="pairs",
        epochs=1,
    )
    study = Study.of(options)
    run_all(study.runs, 1)
    results = study.evaluate(progress=False)
    pair_count = len(stained.select("ihc").indices("train"))
    train_count = len(stained.indices("train"))
    assert any(
        f"{pair_count} of {train_count} training patches" in line for line in results.caveats
    )
    steps = {run.arm.kind: Run(run.out).record.facts["steps"] for run in study.runs}
    assert steps["asymmetric"] == pair_count // 32
    assert steps["symmetric"] == steps["supervised"] == steps["trident"]
    floors = results.select(lambda condition: condition.floor)
    assert {floor.condition.modality for floor in floors} == {"full", "full:ihc"}


OBJECTIVES: dict[str, Objective] = {
    "vicreg": VICReg(),
    "simclr": SimCLR(),
    "barlow twins": BarlowTwins(),
    "clip": Clip(),
    "vse": Vse(),
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_pairwise_loss_of_complete_views_is_the_objective(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    z = {n: torch.randn(6, 5, generator=generator).double() for n in "abc"}
    expected = OBJECTIVES[name](list(z.values()))
    torch.testing.assert_close(pairwise_loss(OBJECTIVES[name], z, {}).total, expected.total)


def test_pairwise_loss_uses_rows_with_both_views() -> None:
    generator = torch.Generator().manual_seed(1)
    z = {n: torch.randn(8, 5, generator=generator).double().requires_grad_() for n in "abc"}
    has = {
        "b": torch.tensor([1, 1, 1, 1, 0, 0, 1, 0]).bool(),
        "c": torch.tensor([1, 1, 0, 1, 1, 0, 1, 1]).bool(),
    }
    loss = pairwise_loss(VICReg(), z, has)
    loss.total.backward()
    all_rows = torch.ones(8, dtype=torch.bool)
    expected = []
    for a, b in combinations("abc", 2):
        has_both = has.get(a, all_rows) & has.get(b, all_rows)
        rows = [i for i in range(8) if has_both[i]]
        expected.append(VICReg()([torch.stack([z[n][i] for i in rows]) for n in (a, b)]).total)
    torch.testing.assert_close(loss.total, torch.stack(expected).mean())
    assert torch.equal(z["b"].grad[5], torch.zeros(5).double())  # no objective used it
    # Rows without a partner have loss 0 and are not an error; the same holds for a single pair.
    for rows in (torch.zeros(8), torch.eye(8)[3]):
        presence = {"b": rows.bool(), "c": rows.bool()}
        assert pairwise_loss(VICReg(), z, presence).total.item() == 0


def test_missing_views_do_not_change_batch_norm(options: RunConfig) -> None:
    torch.manual_seed(0)
    branches = Branches(plan_branches(changed(options, kind="trident")), 16).double()
    images: dict[str, Tensor] = {n: torch.rand(8, 3, 32, 32).double() for n in branches.names}
    has = {"privileged": torch.tensor([1, 0, 1, 1, 0, 1, 0, 1]).bool()}
    embeddings = embed(branches, images, has)
    expected = branches["privileged"](images["privileged"][has["privileged"]])[1]
    torch.testing.assert_close(embeddings["privileged"][has["privileged"]], expected)
    assert not embeddings["privileged"][~has["privileged"]].any()
    single = embed(branches, images, {"privileged": torch.eye(8)[3].bool()})
    assert not single["privileged"].any()  # a single row has no variance
    images["privileged"][~has["privileged"]] = 7  # missing views can have any value
    repeated = embed(branches, images, has)
    torch.testing.assert_close(repeated["privileged"], embeddings["privileged"])


def test_missing_option_changes_the_run_key() -> None:
    options = run_config(Path("s"), Path("o"), kind="trident")
    assert run_key(changed(options, missing="pairs"), "hash") != run_key(options, "hash")


@pytest.mark.parametrize("given", [{"kind": "asymmetric"}, {"kind": "trident", "devices": 2}])
def test_missing_pairs_requires_trident_on_one_device(
    options: RunConfig, given: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match="--missing pairs is for --kind trident on one device"):
        changed(options, missing="pairs", **given)


def test_too_few_pairs_are_refused_before_training(options: RunConfig) -> None:
    with pytest.raises(ConfigError, match=r"larger than the \d+ training patches"):
        pretrain(changed(options, batch=96))
    assert not options.out.exists()


def test_view_without_test_patches_is_trained_but_not_evaluated(
    stained: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    has = Store.has

    def only_in_training(store: Store, array: str) -> Any:
        present = has(store, array).copy()
        if array == "ihc":
            present[store.table["split"].to_numpy() == "test"] = False
        return present

    monkeypatch.setattr(Store, "has", only_in_training)
    options = study_config(
        stained.path,
        tmp_path / "compare",
        primary=["full:he"],
        privileged="full:ihc",
        seeds=1,
        width=16,
        probe_every=2,
        sharing=["independent"],
    )
    study = Study.of(options)
    run_all(study.runs, 1)
    results = study.evaluate(progress=False)
    assert {summary.condition.modality for summary in results.summaries} == {"full"}
    assert (
        "No labelled test patch has full:ihc, so its encoders are not evaluated." in results.caveats
    )
    with pytest.raises(ConfigError, match="has full:ihc"):
        Study.of(changed(options, dense_arms=True))


def test_study_refuses_too_few_pairs_before_training(tissue: Store, tmp_path: Path) -> None:
    options = study_config(tissue.path, tmp_path / "compare", width=16, pairs=0.1)
    with pytest.raises(ConfigError, match=r"--batch 32 is larger than the \d+ training patches"):
        Study.of(options)
    assert not list(tmp_path.glob("compare/runs/*"))
