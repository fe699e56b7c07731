"""The output of `mfl probe` for the branches of a run."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from morefromless.report.answers import show_scores
from morefromless.report.words import UNRELIABLE_NOTE


def branch(name: str, predicted: list[int]) -> Any:
    labels = np.array([0, 1, 0, 1])
    store = SimpleNamespace(classes=("a", "b"), groups=lambda _: None, caveats=[])
    return SimpleNamespace(
        store=store,
        scores=SimpleNamespace(values={"accuracy": 0.5, "ece": 0.1}, recall=(1.0, None)),
        probabilities=np.eye(2)[predicted],
        labels=labels,
        frozen=SimpleNamespace(name=name, modality_spec="full"),
    )


def test_unreliable_mark_of_any_branch_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    show_scores([branch("primary", [0, 1, 0, 1]), branch("privileged", [0, 0, 1, 1])])
    output = capsys.readouterr().out
    assert "100.0 [100.0, 100.0] †" in output
    assert UNRELIABLE_NOTE in output
