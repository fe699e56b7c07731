"""Training one run, whatever its arm."""

from contextlib import nullcontext

from morefromless.canonical import canonical
from morefromless.config import RunConfig
from morefromless.devices import resolve_device, threads
from morefromless.runs import Run
from morefromless.torch_state import own_state
from morefromless.training.pretrain import pretrain
from morefromless.training.supervised import supervise


def train(config: RunConfig) -> Run:
    """Train the run that `config` describes, going on where an earlier call was stopped.

    Raises `ConfigError` or `DataError` before anything is trained where the options or the store
    cannot work, `RunBusy` where another process trains it, `TrainingError` where the loss stops
    being finite.
    """
    config = canonical(config)
    counted = threads(config.threads) if config.threads else nullcontext()
    # Of several devices, each process is given its own later.
    device = resolve_device(config.machine.device) if config.devices == 1 else "cpu"
    with own_state(device), counted:
        return supervise(config) if config.arm.supervised else pretrain(config)
