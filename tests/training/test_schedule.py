"""The schedule against the authors' values, and the optimizer's rates against the schedule."""

import pytest
import torch

from morefromless.errors import ConfigError
from morefromless.training.schedule import scheduler, warmup_cosine, warmup_length
from tests.conformance import Case, cases


@pytest.mark.parametrize("case", cases("schedule"), ids=str)
def test_schedule_matches_the_paper(case: Case) -> None:
    p = case.params
    rates = [
        warmup_cosine(
            int(step),
            base=p["learning_rate_base"],
            total_steps=p["total_steps"],
            warmup_steps=p["warmup_steps"],
            warmup_from=p["warmup_learning_rate"],
        )
        for step in case.inputs["steps"]
    ]
    for name in case.names():
        case.close(rates, name)


def test_warm_up_is_a_tenth_of_an_epoch() -> None:
    assert warmup_length(781) == 78
    assert warmup_length(788) == 78
    assert warmup_length(390, epochs=10) == 3900
    assert warmup_length(5) == 0


def optimizer() -> torch.optim.SGD:
    weights = [torch.nn.Parameter(torch.ones(1)) for _ in range(2)]
    return torch.optim.SGD([{"params": [weights[0]]}, {"params": [weights[1]], "lr": 0.5}], lr=0.1)


def run(
    sgd: torch.optim.SGD, lr_scheduler: torch.optim.lr_scheduler.LambdaLR, steps: int
) -> list[float]:
    rates = []
    for _ in range(steps):
        rates.extend(group["lr"] for group in sgd.param_groups)
        sgd.step()
        lr_scheduler.step()
    return rates


def test_every_parameter_group_follows_its_own_rate_from_zero() -> None:
    sgd = optimizer()
    rates = run(sgd, scheduler(sgd, total_steps=20, warmup_steps=4), 22)
    expected = [
        warmup_cosine(step, base=base, total_steps=20, warmup_steps=4)
        for step in range(22)
        for base in (0.1, 0.5)
    ]
    assert rates == pytest.approx(expected, rel=1e-12)
    assert rates[:2] == [0.0, 0.0]


@pytest.mark.parametrize("optimizer_first", [True, False])
def test_a_resumed_run_has_the_same_rates(optimizer_first: bool) -> None:
    sgd = optimizer()
    uninterrupted = run(sgd, scheduler(sgd, total_steps=20, warmup_steps=4), 12)
    first = optimizer()
    lr_scheduler = scheduler(first, total_steps=20, warmup_steps=4)
    first_rates = run(first, lr_scheduler, 2)
    second = optimizer()
    if optimizer_first:
        second.load_state_dict(first.state_dict())
    resumed = scheduler(second, total_steps=20, warmup_steps=4)
    resumed.load_state_dict(lr_scheduler.state_dict())
    second.load_state_dict(first.state_dict())
    assert first_rates + run(second, resumed, 10) == uninterrupted


@pytest.mark.parametrize(("total", "warmup"), [(10, 10), (10, 11), (10, -1), (0, 0)])
def test_impossible_lengths_are_refused(total: int, warmup: int) -> None:
    with pytest.raises(ConfigError, match="fewer warm-up steps"):
        warmup_cosine(0, base=1.0, total_steps=total, warmup_steps=warmup)


def test_a_rate_of_zero_is_refused() -> None:
    sgd = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.0)
    with pytest.raises(ConfigError, match="above 0"):
        scheduler(sgd, total_steps=20, warmup_steps=4)
