"""CLIP, VSE++ and Barlow Twins against the reference implementations and naive float64 loops."""

import math
from itertools import combinations

import pytest
import torch

from morefromless import objectives
from morefromless.errors import ConfigError
from morefromless.objectives import Objective
from morefromless.objectives.barlow_twins import BarlowTwins
from morefromless.objectives.clip import Clip
from morefromless.objectives.simclr import SimCLR
from morefromless.objectives.vse import Vse
from morefromless.specs import build
from tests.conformance import Case, cases
from tests.objectives import PRECISIONS, branches, draw


def variants(case: Case) -> dict[str, Objective]:
    """Map of each reference of a case to the equivalent objective."""
    p = case.params
    match case.group:
        case "barlow":
            official = BarlowTwins("official", p["lambd"])
            return {
                "authors": BarlowTwins("authors", p["lambd"]),
                "facebook": official,
                "lightly": official,
                "solo": official,
            }
        case "clip":
            return {
                "open_clip": Clip(1 / p["logit_scale"]),
                "authors_simclr_at_inverse_scale": Clip(1 / p["logit_scale"]),
            }
        case _:
            return {"vsepp_max": Vse("hardest", p["margin"]), "vsepp_sum": Vse("all", p["margin"])}


ALL = [case for group in ("barlow", "clip", "vse") for case in cases(group)]


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("case", ALL, ids=str)
def test_agrees_with_every_reference(case: Case, precision: str) -> None:
    compared = set()
    for name, objective in variants(case).items():
        if PRECISIONS[precision] == torch.float64:
            objective = objective.double()
            if isinstance(objective, Clip):  # the float32 parameter has only 7 digits
                objective.log_scale.data.fill_(math.log(case.params["logit_scale"]))
        z = branches(case, PRECISIONS[precision])
        loss = objective(z)
        loss.total.backward()
        actual = {f"{name}.total": loss.total.item()}
        actual |= {f"{name}.grad_z{i}": branch.grad for i, branch in enumerate(z)}
        if case.group == "barlow":
            actual |= {
                f"{name}.on_diag": loss.terms["on_diagonal"].item(),
                f"{name}.off_diag": loss.terms["off_diagonal"].item(),
            }
        for output in set(actual) & set(case.names()):
            case.close(actual[output], output, precision)
            compared.add(output)
    assert compared == set(case.names())


def test_vse_agrees_with_a_naive_loop() -> None:
    z = [torch.nn.functional.normalize(branch, dim=1) for branch in draw(5, 4)]
    hardest = total = 0.0
    for a, b in (z, z[::-1]):
        for i in range(5):
            costs = [
                max(0.0, 0.3 - float(a[i] @ b[i]) + float(a[i] @ b[j])) for j in range(5) if j != i
            ]
            hardest += max(costs)
            total += sum(costs)
    assert Vse("hardest", 0.3)(z).total.item() == pytest.approx(hardest)
    assert Vse("all", 0.3)(z).total.item() == pytest.approx(total)


@pytest.mark.parametrize("convention", ["official", "authors"])
def test_barlow_is_equal_with_and_without_the_large_matrix(convention: str) -> None:
    wide = draw(6, 20)
    results = []
    for z in (wide, [torch.cat([branch] * 5) for branch in wide]):  # 30 rows: the D x D matrix
        z = [branch.clone().requires_grad_() for branch in z]
        loss = BarlowTwins(convention)(z)
        loss.total.backward()
        gradient = z[0].grad.reshape(-1, 6, 20).sum(0)
        results.append((loss.total.item(), gradient))
    assert results[0][0] == pytest.approx(results[1][0])
    torch.testing.assert_close(results[0][1], results[1][1])


def test_barlow_of_equal_uncorrelated_branches_is_zero() -> None:
    z = torch.linalg.qr(torch.cat([torch.ones(8, 1), draw(8, 4)[0]], 1))[0][:, 1:] * 1e4
    assert BarlowTwins("authors")([z.double(), z.double()]).total.item() < 1e-12


def test_constant_dimension_costs_one_and_has_no_gradient() -> None:
    z = [branch.requires_grad_() for branch in draw(6, 3)]
    flat = [torch.cat([branch, torch.zeros(6, 1)], 1) for branch in z]
    for convention in ("official", "authors"):
        with_constant = BarlowTwins(convention)(flat).terms["on_diagonal"]
        without_constant = BarlowTwins(convention)(z).terms["on_diagonal"]
        assert (with_constant - without_constant).item() == pytest.approx(1)
        (gradient,) = torch.autograd.grad(with_constant, z[0])
        assert gradient.isfinite().all()


def test_clip_learns_its_temperature_and_keeps_it_in_bounds() -> None:
    objective = Clip()
    z = draw(8, 4)
    objective([z[0], z[0]]).total.backward()
    assert objective.log_scale.grad < 0  # matching rows lower the temperature
    with torch.no_grad():
        objective.log_scale.fill_(20)
    assert objective(z).terms["temperature"].item() == pytest.approx(0.01)
    assert Clip(learned=False).log_scale.requires_grad is False
    fixed = SimCLR("authors", 0.2)(z).total.item()
    assert Clip(0.2)(z).total.item() == pytest.approx(fixed, rel=1e-6)


@pytest.mark.parametrize("objective", [Clip(), Vse(), Vse("all"), BarlowTwins()], ids=repr)
def test_loss_of_three_branches_is_the_mean_of_their_pairs(objective: Objective) -> None:
    z = draw(6, 5, count=3)
    pairs = [objective([z[i], z[j]]).total for i, j in combinations(range(3), 2)]
    torch.testing.assert_close(objective(z).total, torch.stack(pairs).mean())


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("clip:0.001", "0.01 or more"),
        ("vse:margin=0", "margin to be above 0"),
        ("vse:negatives=some", "hardest"),
        ("barlow-twins:convention=mine", "official"),
        ("barlow-twins:off_diagonal=-1", "0 or more"),
    ],
)
def test_invalid_parameters_are_refused(spec: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        build(spec, objectives, Objective)


@pytest.mark.parametrize("name", ["clip", "vse", "barlow-twins"])
def test_half_precision_is_computed_in_single(name: str) -> None:
    objective = build(name, objectives, Objective)
    z = [branch.bfloat16() for branch in draw(8, 16)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = objective(z)
    assert loss.total.dtype == torch.float32
    torch.testing.assert_close(loss.total, objective([branch.float() for branch in z]).total)


def test_one_branch_or_one_row_is_refused() -> None:
    for objective in (Clip(), Vse(), BarlowTwins()):
        with pytest.raises(ConfigError, match="two or more branches"):
            objective(draw(4, 3, count=1))
    with pytest.raises(ConfigError, match="use a batch size of 2 or more"):
        BarlowTwins()(draw(1, 3))
