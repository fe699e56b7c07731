"""Learning rate schedule: linear warm-up, then half a cosine to zero."""

import math
from collections.abc import Callable

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from morefromless.errors import ConfigError


def warmup_cosine(
    step: int, *, base: float, total_steps: int, warmup_steps: int, warmup_from: float = 0.0
) -> float:
    """Learning rate of update `step`, counted from 0.

        step < W        warmup_from + (base - warmup_from) * step / W
        W <= step <= T  base / 2 * (1 + cos(pi * (step - W) / (T - W)))
        step > T        0

    with W = `warmup_steps`, T = `total_steps`, 0 <= W < T. If the warm-up starts from zero, the
    first update has rate 0 and changes no weight. Source: More From Less, section 2.2, and the
    schedule of its code (78,100 steps, 78 of them warm-up).

    >>> [warmup_cosine(step, base=1.0, total_steps=8, warmup_steps=4) for step in (0, 2, 4, 6, 8)]
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    if not 0 <= warmup_steps < total_steps:
        raise ConfigError(
            f"A run of {total_steps} steps cannot have {warmup_steps} warm-up steps; train longer "
            "or use fewer warm-up steps."
        )
    if step < warmup_steps:
        return warmup_from + (base - warmup_from) * step / warmup_steps
    if step > total_steps:
        return 0.0
    progress = (step - warmup_steps) / (total_steps - warmup_steps)
    return base / 2 * (1 + math.cos(math.pi * progress))


def warmup_length(steps_per_epoch: int, epochs: float = 0.1) -> int:
    """Steps of warm-up, rounded down: a tenth of an epoch as in the paper (78 of 781 steps).

    >>> warmup_length(781)
    78
    """
    return int(epochs * steps_per_epoch)


def scheduler(optimizer: Optimizer, *, total_steps: int, warmup_steps: int) -> LambdaLR:
    """Scheduler of `warmup_cosine` for each parameter group's own rate; step it once per update.

    Its state is only the step number, so a resumed run continues with exactly the same rates.
    """

    def factor(base: float) -> Callable[[int], float]:
        def relative_rate(step: int) -> float:
            rate = warmup_cosine(
                step, base=base, total_steps=total_steps, warmup_steps=warmup_steps
            )
            return rate / base

        return relative_rate

    bases = [float(group.get("initial_lr", group["lr"])) for group in optimizer.param_groups]
    if any(base <= 0 for base in bases):
        raise ConfigError(f"The learning rate must be above 0, not {min(bases)}.")
    return LambdaLR(optimizer, [factor(base) for base in bases])
