"""Energy, where the machine tells it: the counters of its processors (RAPL) and GPUs (NVML)."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from morefromless.data.atomic import explaining

RAPL = Path("/sys/class/powercap")
"""Linux: one folder a processor package, with a counter in microjoules that starts anew."""


@contextmanager
def metered(path: Path) -> Iterator[None]:
    """Append to `path` a line of what the whole machine used during the block, and for how long.

    One JSON object a line: `joules` by counter, and `seconds`. Nothing is written where no counter
    can be read, nor where the block is killed.
    """
    before, began = counters(), time.time()
    try:
        yield
    finally:
        after = counters()
        used = {
            name: _since(before[name], value) for name, value in after.items() if name in before
        }
        if used:
            path.parent.mkdir(parents=True, exist_ok=True)
            line = json.dumps({"joules": used, "seconds": round(time.time() - began, 1)})
            with explaining(path), path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")


def counters() -> dict[str, tuple[float, float]]:
    """Name of a counter to its joules so far, and at how many it begins anew (infinity: never)."""
    found = {}
    for folder in sorted(RAPL.glob("*-rapl:*")):
        if folder.name.count(":") > 1:  # a part of a package, which counts it too
            continue
        try:
            joules, limit = (
                int((folder / name).read_text()) / 1e6
                for name in ("energy_uj", "max_energy_range_uj")
            )
            found[folder.name] = joules, limit
        except (OSError, ValueError):  # often for the administrator only
            continue
    return found | _gpus()


def _gpus() -> dict[str, tuple[float, float]]:
    try:
        import pynvml

        pynvml.nvmlInit()
        return {
            f"gpu {k}": (
                pynvml.nvmlDeviceGetTotalEnergyConsumption(pynvml.nvmlDeviceGetHandleByIndex(k))
                / 1e3,
                float("inf"),
            )
            for k in range(pynvml.nvmlDeviceGetCount())
        }
    except Exception:  # not installed, no driver, or a GPU that does not tell
        return {}


def _since(before: tuple[float, float], after: tuple[float, float]) -> float:
    used = after[0] - before[0]
    return round(used if used >= 0 else used + before[1], 1)
