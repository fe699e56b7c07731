"""Few-shot, retrieval and expression against scikit-learn, plain loops and known results."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsClassifier
from torch.nn.functional import cosine_similarity, normalize

from morefromless import cli
from morefromless.config import Probe
from morefromless.data.store import Store
from morefromless.errors import ConfigError, DataError
from morefromless.evaluation.loading import load_encoders
from morefromless.questions import Reply, Score, build_question, evaluate_questions
from morefromless.questions.expression import pearson
from morefromless.questions.few_shot import FewShot, draw_shots
from morefromless.questions.retrieval import Retrieval, recalls
from morefromless.report.answers import reply_section
from morefromless.runs import Run
from morefromless.training.pretrain import pretrain
from tests.conftest import run_config


@pytest.fixture(scope="module")
def run(tissue: Store, tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("questions") / "run"
    return pretrain(run_config(tissue.path, out, primary="downsample:16", epochs=4))


def values(reply: Reply) -> dict[tuple[str, str], float]:
    return {(score.row, score.column): score.value for score in reply.scores}


def test_few_shot_matches_scikit_learn(run: Run, tissue: Store) -> None:
    (reply,) = evaluate_questions(
        run, tissue, [build_question("few-shot:shots=1/5,draws=3")], Probe(probe="knn:1"), "tissue"
    )
    for name, frozen in load_encoders(run).items():
        train, test = (
            normalize(frozen.features(tissue, split)).numpy() for split in ("train", "test")
        )
        labels, truth = (tissue.labels[tissue.indices(split)] for split in ("train", "test"))
        for shots in (1, 5):
            accuracies = []
            for draw in range(3):
                rows = draw_shots(labels, shots, draw)
                assert set(np.bincount(labels[rows])) == {shots}
                nearest = KNeighborsClassifier(1).fit(train[rows], labels[rows])
                accuracies.append(nearest.score(test, truth))
            assert values(reply)[str(shots), name] == pytest.approx(np.mean(accuracies), abs=0.01)
            (spread,) = (
                score.spread
                for score in reply.scores
                if (score.row, score.column) == (str(shots), name)
            )
            assert spread == pytest.approx(np.std(accuracies, ddof=1), abs=0.01)
    table = reply_section(reply)
    assert table.header == ("", "primary", "privileged")
    assert [row[0] for row in table.rows] == ["1", "5"]
    assert " ± " in table.rows[0][1]
    assert len(reply.notes) == 1
    smallest_class = int(np.bincount(tissue.labels[tissue.indices("train")]).min())
    many = build_question(f"few-shot:shots={smallest_class + 1},draws=1")
    (larger_reply,) = evaluate_questions(run, tissue, [many], Probe(labels=0.4), "tissue")
    assert (
        larger_reply.notes[0]
        == "Accuracy of a linear probe on the test patches: one draw of the labels."
    )
    assert {score.spread for score in larger_reply.scores} == {None}
    assert f" {smallest_class}" in larger_reply.notes[-1]
    assert "have fewer training patches; all are used" in larger_reply.notes[-1]


def test_undefined_score_is_a_dash() -> None:
    scores = [Score("gene", "primary", -0.25), Score("constant gene", "primary", math.nan)]
    table = reply_section(Reply("", scores, [], share=False))
    assert table.rows == [("gene", "−0.250"), ("constant gene", "–")]


def test_recall_matches_a_plain_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("morefromless.questions.retrieval.QUERIES_PER_BATCH", 7)
    draw = torch.Generator().manual_seed(0)
    queries = torch.randn(40, 8, generator=draw)
    gallery = queries + torch.randn(40, 8, generator=draw)
    ranks = []
    for number, query in enumerate(queries):
        similarities = cosine_similarity(query[None], gallery)
        ranks.append(int((similarities > similarities[number]).sum()) + 1)
    expected = [float(np.mean([rank <= k for rank in ranks])) for k in (1, 5, 40)]
    np.testing.assert_allclose(recalls(queries, gallery, (1, 5, 40)), expected, rtol=1e-6)
    for value in (1.0, torch.nan):  # collapsed, or diverged
        identical = torch.full((9, 3), value)
        assert recalls(identical, identical, (1, 8, 9)) == [0.0, 0.0, 1.0]


def test_retrieval_is_better_than_chance_and_needs_two_branches(run: Run, tissue: Store) -> None:
    (reply,) = evaluate_questions(
        run, tissue, [build_question("retrieval:at=1/10")], Probe(), "tissue"
    )
    scores = values(reply)
    assert scores["by chance", "at 10"] == pytest.approx(10 / 45)
    trained = scores["primary to privileged", "at 10"]
    assert trained > scores["by chance", "at 10"]
    encoders = load_encoders(run)
    with pytest.raises(ConfigError, match="provides one branch only"):
        Retrieval().evaluate({"primary": encoders["primary"]}, tissue, Probe(), "tissue")


def test_expression_matches_ridge_and_pearson_correlation(
    run: Run, tissue: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen = load_encoders(run)["primary"]
    features = frozen.represent(tissue, np.arange(len(tissue.table))).double().numpy()
    rng = np.random.default_rng(0)
    genes = np.stack([3 * features[:, 0], rng.normal(size=len(features)), np.ones(180)], axis=1)
    array = Store.array
    genes_of = {"expression": genes.astype(np.float32)}
    monkeypatch.setattr(
        Store, "array", lambda s, n: genes_of.get(n) if n in genes_of else array(s, n)
    )
    monkeypatch.setattr(Store, "channels", lambda *_: ("KNOWN", "NOISE", "CONSTANT"))
    (reply,) = evaluate_questions(
        run, tissue, [build_question("expression:show=2")], Probe(), "tissue"
    )
    scores = values(reply)
    assert scores["KNOWN", "primary"] > 0.95
    assert abs(scores["NOISE", "primary"]) < 0.6
    # The median of two is their mean.
    correlations = [scores[gene, "primary"] for gene in ("KNOWN", "NOISE")]
    assert scores["median of all genes", "primary"] == pytest.approx(np.median(correlations))
    assert reply.notes[1].endswith("have no correlation: 1.")
    assert not reply.share
    train, test = tissue.indices("train"), tissue.indices("test")
    predicted = Ridge(1e-6).fit(features[train], genes[train, 0]).predict(features[test])
    expected = np.corrcoef(predicted, genes[test, 0])[0, 1]
    assert scores["KNOWN", "primary"] == pytest.approx(expected, abs=0.05)
    a, b = torch.randn(20, 3), torch.randn(20, 3)
    correlations = np.corrcoef(a.numpy(), b.numpy(), rowvar=False)
    np.testing.assert_allclose(pearson(a, b), np.diag(correlations[:3, 3:]), atol=1e-6)


def test_branch_without_test_patches_is_not_evaluated(run: Run, tissue: Store) -> None:
    present = pd.DataFrame({"ihc": tissue.table["split"] != "test"})
    arrays = {**tissue.arrays, "ihc": tissue.arrays["he"]}
    store = Store(tissue.path, tissue.meta, tissue.table, arrays, present)
    encoders = load_encoders(run)
    encoders["privileged"] = replace(encoders["privileged"], modality_spec="full:ihc", folder=None)
    reply = FewShot((5,), 1).evaluate(encoders, store, Probe(probe="ridge"), "tissue")
    assert {score.column for score in reply.scores} == {"primary"}
    with pytest.raises(DataError, match=r"No test patch of .* has both views"):
        Retrieval().evaluate(encoders, store, Probe(), "tissue")


def test_mfl_probe_prints_the_tables(
    run: Run, tissue: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["probe", str(run.path), "--device", "cpu", "--probe", "ridge", "--questions"]
    assert cli.run([*arguments, "few-shot:draws=2", "retrieval"]) == 0
    output = capsys.readouterr().out
    assert "Few labels per class" in output
    assert "primary to privileged" in output
    assert cli.run([*arguments, "astrology"]) == 2
    output, error = capsys.readouterr()
    assert (output, "astrology" in error) == ("", True)  # before anything is computed
    with pytest.raises(ConfigError, match="shots and draws of 1 or more"):
        evaluate_questions(run, tissue, [build_question("few-shot:draws=0")], Probe(), "tissue")
    with pytest.raises(DataError, match="holds images"):
        evaluate_questions(run, tissue, [build_question("expression:array=he")], Probe(), "tissue")


def test_retrieval_without_expander_uses_representations(tissue: Store, tmp_path: Path) -> None:
    options = {"no_expander": ["primary", "privileged"], "width": 96, "primary": "downsample:16"}
    bare = pretrain(run_config(tissue.path, tmp_path / "bare", epochs=1, **options))
    (reply,) = evaluate_questions(
        bare, tissue, [build_question("retrieval:at=5")], Probe(), "tissue"
    )
    primary, privileged = load_encoders(bare).values()
    rows = tissue.indices("test")
    expected = recalls(primary.represent(tissue, rows), privileged.represent(tissue, rows), (5,))
    assert values(reply)["primary to privileged", "at 5"] == expected[0]
