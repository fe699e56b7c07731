"""Show in the terminal which runs are not trained yet, and what they cost."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from morefromless.config import Planning, RunConfig
from morefromless.data.store import Store
from morefromless.devices import resolve_device
from morefromless.progress import Bar
from morefromless.report.terminal import say, show_table
from morefromless.runner import needed_bytes
from morefromless.runs import Run
from morefromless.training.checks import count_steps, count_training_patches
from morefromless.training.cost import resident_bytes, step_cost, step_cost_key, step_seconds


def show_plan(runs: Sequence[RunConfig], store: Store, planning: Planning, out: Path) -> None:
    """Print the runs of a study by arm and modality, and the cost of those not done."""
    total = Counter(map(_kind, runs))
    done = Counter(_kind(run) for run in runs if Run(run.out).done)
    rows = [(*kind, str(count), str(done[kind])) for kind, count in total.items()]
    show_table("", ("arm", "primary", "runs", "done"), rows)
    show_remaining(runs, store, planning, out)


def _kind(run: RunConfig) -> tuple[str, str]:
    objective = () if run.arm.kind in ("supervised", "distillation") else (run.arm.objective,)
    return ", ".join((*run.arm.words, *objective)), run.arm.primary


def show_remaining(runs: Sequence[RunConfig], store: Store, planning: Planning, out: Path) -> None:
    """Print how many runs remain, and their disk space. With `--plan`, also print the memory of one
    run; with `--time`, also the time of all."""
    remaining = [run for run in runs if not Run(run.out).done]
    say(
        f"{len(remaining)} of {len(runs)} runs on {store.path} will be trained. They need up to "
        f"{needed_bytes(remaining) / 1e9:,.2f} GB of disk in {out}.",
    )
    if not (planning.plan and remaining):
        return
    kinds = {step_cost_key(run): run for run in remaining}
    bar = Bar(kinds.items(), desc="memory", unit="kind")
    costs = {kind: step_cost(run) for kind, run in bar}
    patches = {run.out: count_training_patches(run, store) for run in remaining}
    resident = {run.out: resident_bytes(run, store, patches[run.out]) for run in remaining}
    largest = max(remaining, key=lambda run: costs[step_cost_key(run)].memory + resident[run.out])
    cost, images = costs[step_cost_key(largest)], resident[largest.out]
    say(
        f"A run needs up to {(cost.memory + images) / 1e9:,.2f} GB of memory in addition to "
        f"PyTorch's own ({largest.out.name}): {cost.state / 1e9:,.2f} for weights and Adam, "
        f"{cost.working / 1e9:,.2f} for gradients and intermediate results, {images / 1e9:,.2f} "
        "for patches kept in memory (--resident). --batch, --accumulate, --gradient-checkpointing "
        "and --precision bf16 lower it."
    )
    if planning.time:
        smallest = min(remaining, key=lambda run: costs[step_cost_key(run)].operations)
        device = resolve_device(smallest.machine.device)
        seconds = step_seconds(smallest, device)
        rate = seconds / costs[step_cost_key(smallest)].operations
        total = sum(
            rate * costs[step_cost_key(run)].operations * count_steps(run, patches[run.out])
            for run in remaining
        )
        say(
            f"About {total / 3600:,.1f} hours on this {device.upper()}, one run after another: a "
            f"step of {smallest.out.name} takes {seconds:.3g} s, and the time of the other runs is "
            "scaled by their number of operations. Views and evaluation are not included."
        )
