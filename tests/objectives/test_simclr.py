"""SimCLR against the reference implementations, a naive float64 loop and its own invariants."""

import math
from itertools import combinations

import pytest
import torch

from morefromless import objectives
from morefromless.errors import ConfigError
from morefromless.objectives import Objective
from morefromless.objectives.simclr import SimCLR, info_nce, unit_rows
from morefromless.specs import build
from tests.conformance import Case, cases
from tests.objectives import PRECISIONS, branches, draw

CASES = cases("simclr")


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_authors_agrees_with_tridents_code(case: Case, precision: str) -> None:
    t = case.params["temperature"]
    z = branches(case, PRECISIONS[precision])
    loss = SimCLR("authors", t)(z)
    loss.total.backward()
    actual = {"authors.total": loss.total.item()}
    per_sample = torch.zeros(len(z[0]), dtype=z[0].dtype)
    for i, j in combinations(range(len(z)), 2):
        forward, backward = info_nce(unit_rows(z[i].detach()), unit_rows(z[j].detach()), t)
        per_sample += (forward + backward) / 2
        actual[f"authors.dir_{i}_{j}_loss"] = forward.mean()
        actual[f"authors.dir_{j}_{i}_loss"] = backward.mean()
    actual["authors.loss_per_sample"] = per_sample
    actual |= {f"authors.grad_z{i}": branch.grad for i, branch in enumerate(z)}
    expected_names = {name for name in case.names() if name.startswith("authors.")}
    assert expected_names <= set(actual)
    for name in expected_names:
        case.close(actual[name], name, precision)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("case", [c for c in CASES if "lightly.total" in c.names()], ids=str)
def test_nt_xent_agrees_with_lightly_and_solo_learn(case: Case, precision: str) -> None:
    z = branches(case, PRECISIONS[precision])
    loss = SimCLR("nt-xent", case.params["temperature"])(z)
    loss.total.backward()
    actual = {"lightly.total": loss.total.item(), "solo.total": loss.total.item()}
    actual |= {f"lightly.grad_z{i}": branch.grad for i, branch in enumerate(z)}
    expected_names = {name for name in case.names() if not name.startswith("authors.")}
    assert {"lightly.total", "solo.total"} <= expected_names <= set(actual)
    for name in expected_names:
        case.close(actual[name], name, precision)


def test_nt_xent_agrees_with_a_naive_loop() -> None:
    first, second = draw(5, 4)
    rows = [row / row.norm() for row in torch.cat([first, second])]
    expected = 0.0
    for a, anchor in enumerate(rows):
        similarities = [math.exp(float(anchor @ rows[b]) / 0.2) for b in range(10) if b != a]
        expected -= (
            math.log(math.exp(float(anchor @ rows[(a + 5) % 10]) / 0.2) / sum(similarities)) / 10
        )
    assert SimCLR(temperature=0.2)([first, second]).total.item() == pytest.approx(expected)


@pytest.mark.parametrize(("convention", "share"), [("nt-xent", 1 / 3), ("authors", 1.0)])
def test_loss_of_three_branches_combines_their_pairs(convention: str, share: float) -> None:
    z = draw(6, 5, count=3)
    combined = SimCLR(convention)(z)
    pairs = {
        f"contrastive_{i}_{j}": SimCLR(convention)([z[i], z[j]]).total
        for i, j in ((0, 1), (0, 2), (1, 2))
    }
    assert combined.terms.keys() == pairs.keys()
    for name, term in combined.terms.items():
        torch.testing.assert_close(term, pairs[name])
    torch.testing.assert_close(combined.total, share * sum(pairs.values()))


@pytest.mark.parametrize("convention", ["nt-xent", "authors"])
def test_gradient_agrees_with_finite_differences(convention: str) -> None:
    z = [branch.requires_grad_() for branch in draw(5, 4, seed=3)]
    assert torch.autograd.gradcheck(lambda *b: SimCLR(convention)(b).total, z)


@pytest.mark.parametrize("convention", ["nt-xent", "authors"])
def test_row_of_zeros_has_a_bounded_gradient(convention: str) -> None:
    z = [branch.float() for branch in draw(6, 5)]
    z[0][3] = 0
    for branch in z:
        branch.requires_grad_()
    SimCLR(convention)(z).total.backward()
    assert z[0].grad is not None
    assert 0 < z[0].grad[3].norm() < 10


@pytest.mark.parametrize("convention", ["nt-xent", "authors"])
def test_half_precision_is_computed_in_float32_under_autocast(convention: str) -> None:
    z = [branch.bfloat16() for branch in draw(8, 6)]
    expected = SimCLR(convention)([branch.float() for branch in z]).total
    with torch.autocast("cpu", torch.bfloat16):
        actual = SimCLR(convention)(z).total
        double = SimCLR(convention)([branch.double() for branch in z]).total
    assert actual.dtype == torch.float32
    assert actual == expected
    assert double.dtype == torch.float64


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(4, 3)], "two or more branches"),
        ([(4, 3), (5, 3)], "every branch must return one row per patch"),
        ([(4, 3), (4, 2)], "every branch must return one row per patch"),
        ([(0, 3), (0, 3)], "which is too small"),
    ],
)
def test_unusable_embeddings_are_refused(shapes: list[tuple[int, ...]], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SimCLR()([torch.zeros(shape) for shape in shapes])


@pytest.mark.parametrize("spec", ["simclr:ntxent", "simclr:temperature=0", "simclr:temperature=-1"])
def test_parameters_out_of_range_are_refused(spec: str) -> None:
    with pytest.raises(ConfigError):
        build(spec, objectives, Objective)


def test_is_a_member_of_the_open_set() -> None:
    objective = build("simclr:authors,temperature=0.1", objectives, Objective)
    assert isinstance(objective, SimCLR)
    assert (objective.convention, objective.temperature) == ("authors", 0.1)
