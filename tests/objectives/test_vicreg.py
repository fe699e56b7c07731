"""VICReg against the reference implementations, a naive float64 loop and its own invariants."""

from itertools import combinations

import numpy as np
import pytest
import torch

from morefromless import objectives
from morefromless.errors import ConfigError
from morefromless.objectives import Objective
from morefromless.objectives.vicreg import VICReg, hinge, redundancy, squared_distances
from morefromless.specs import build
from tests.conformance import Case, cases
from tests.objectives import PRECISIONS, branches, draw

CASES = cases("vicreg")


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_authors_agrees_with_the_papers_code(case: Case, precision: str) -> None:
    p = case.params
    objective = VICReg("authors", p["lambd"], p["mu"], p["nu"], p["gamma"], p["epsilon"])
    z = branches(case, PRECISIONS[precision])
    loss = objective(z)
    loss.total.backward()
    per_sample = 2 * sum(squared_distances(a, b) for a, b in combinations(z, 2)).detach()
    terms = {name: term.item() for name, term in loss.terms.items()}
    actual = {
        "authors.total": loss.total.item(),
        "authors.inv": terms["invariance"],
        "authors.var": terms["variance"],
        "authors.cov": terms["covariance"],
        "authors.inv_per_sample": per_sample,
        "authors.loss_per_sample": p["lambd"] * per_sample
        + p["mu"] * terms["variance"]
        + p["nu"] * terms["covariance"],
    } | {f"authors.grad_z{i}": branch.grad for i, branch in enumerate(z)}
    assert set(actual) == {name for name in case.names() if name.startswith("authors.")}
    for name, value in actual.items():
        case.close(value, name, precision)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("case", [c for c in CASES if "facebook.total" in c.names()], ids=str)
def test_official_agrees_with_the_published_code(case: Case, precision: str) -> None:
    p = case.params
    z = branches(case, PRECISIONS[precision])
    loss = VICReg("official", p["lambd"], p["mu"], p["nu"])(z)
    loss.total.backward()
    actual = {
        "facebook.total": loss.total.item(),
        "lightly.total": loss.total.item(),
        "facebook.inv": loss.terms["invariance"].item(),
        "facebook.var": loss.terms["variance"].item(),
        "facebook.cov": loss.terms["covariance"].item(),
    } | {f"facebook.grad_z{i}": branch.grad for i, branch in enumerate(z)}
    assert set(actual) == {name for name in case.names() if not name.startswith("authors.")}
    for name, value in actual.items():
        case.close(value, name, precision)


@pytest.mark.parametrize("convention", ["official", "authors"])
@pytest.mark.parametrize("shape", [(7, 5), (5, 7), (6, 6)])
def test_both_forms_of_the_covariance_agree_with_numpy(
    convention: str, shape: tuple[int, int]
) -> None:
    z = draw(*shape, count=1)[0] * torch.arange(1, shape[1] + 1) + 3
    degrees = shape[0] - (convention == "official")
    c = np.cov(z.numpy(), rowvar=False, ddof=shape[0] - degrees)
    expected = sum(c[i, j] ** 2 for i in range(len(c)) for j in range(len(c)) if i != j) / len(c)
    centred = z - z.mean(dim=0)
    variance = centred.square().sum(dim=0) / degrees
    actual = redundancy(centred, variance, degrees).item()
    assert actual == pytest.approx(expected, rel=1e-12)
    short = np.maximum(0, 2 - np.sqrt(z.numpy().var(axis=0, ddof=shape[0] - degrees) + 0.1))
    assert hinge(variance, 2, 0.1).item() == pytest.approx(short.mean())


def test_official_of_three_branches_is_the_mean_of_its_pairs() -> None:
    z = draw(6, 9, count=3)
    objective = VICReg()
    combined = objective(z)
    pairs = [objective(list(pair)) for pair in combinations(z, 2)]
    torch.testing.assert_close(combined.total, sum(p.total for p in pairs) / 3)
    for name, term in combined.terms.items():
        torch.testing.assert_close(term, sum(p.terms[name] for p in pairs) / 3)


def test_weights_multiply_their_terms() -> None:
    loss = VICReg("official", 2.0, 3.0, 5.0)(draw(6, 4))
    s, v, c = (loss.terms[name] for name in ("invariance", "variance", "covariance"))
    torch.testing.assert_close(loss.total, 2 * s + 3 * v + 5 * c)


@pytest.mark.parametrize("convention", ["official", "authors"])
@pytest.mark.parametrize("shape", [(6, 4), (4, 6)])
def test_gradient_agrees_with_finite_differences(convention: str, shape: tuple[int, int]) -> None:
    z = [branch.requires_grad_() for branch in draw(*shape, seed=3)]
    assert torch.autograd.gradcheck(lambda *b: VICReg(convention)(b).total, z)


@pytest.mark.parametrize("convention", ["official", "authors"])
def test_collapsed_embeddings_have_finite_gradients(convention: str) -> None:
    z = [torch.full((4, 8), value, requires_grad=True) for value in (0.3, 0.7)]
    loss = VICReg(convention)(z)
    loss.total.backward()
    assert loss.terms["covariance"] == 0
    assert all(branch.grad is not None and branch.grad.isfinite().all() for branch in z)


@pytest.mark.parametrize("shape", [(8, 4), (8, 32)])
def test_half_precision_is_computed_in_float32_under_autocast(shape: tuple[int, int]) -> None:
    z = [branch.bfloat16() for branch in draw(*shape)]
    expected = VICReg()([branch.float() for branch in z]).total
    with torch.autocast("cpu", torch.bfloat16):
        actual = VICReg()(z).total
        double = VICReg()([branch.double() for branch in z]).total
    assert actual.dtype == torch.float32
    assert actual == expected
    assert double.dtype == torch.float64


def test_float32_is_precise_at_the_papers_size() -> None:
    # 128 x 8192 as in the paper, with a mean far from zero and standard deviations from 0.5 to 2.
    z = [b * torch.linspace(0.5, 2, 8192) + 100 for b in draw(128, 8192)]
    single = [branch.float().requires_grad_() for branch in z]
    double = [branch.detach().double().requires_grad_() for branch in single]
    a, b = VICReg()(single), VICReg()(double)
    a.terms["covariance"].backward()
    b.terms["covariance"].backward()
    assert a.terms["covariance"].item() == pytest.approx(b.terms["covariance"].item(), rel=1e-5)
    for s, d in zip(single, double, strict=True):
        assert s.grad is not None
        assert d.grad is not None
        assert (s.grad - d.grad).norm() < 1e-5 * d.grad.norm()


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(4, 3)], "two or more branches"),
        ([(4, 3), (5, 3)], "every branch must return one row per patch"),
        ([(4, 3), (4, 2)], "every branch must return one row per patch"),
        ([(4,), (4,)], "every branch must return one row per patch"),
        ([(1, 3), (1, 3)], "use a batch size of 2 or more"),
    ],
)
def test_unusable_embeddings_are_refused(shapes: list[tuple[int, ...]], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        VICReg()([torch.zeros(shape) for shape in shapes])


@pytest.mark.parametrize(
    "spec",
    [
        "vicreg:offical",
        "vicreg:variance=-1",
        "vicreg:gamma=0",
        "vicreg:epsilon=0",
        "vicreg:covariance=nan",
    ],
)
def test_parameters_out_of_range_are_refused(spec: str) -> None:
    with pytest.raises(ConfigError):
        build(spec, objectives, Objective)


def test_is_a_member_of_the_open_set() -> None:
    objective = build("vicreg:authors,covariance=2", objectives, Objective)
    assert isinstance(objective, VICReg)
    assert (objective.convention, objective.weights["covariance"]) == ("authors", 2.0)
    assert objective.epsilon == 1e-5
    assert VICReg().epsilon == 1e-4
