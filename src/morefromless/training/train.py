"""Training of one run of any arm."""

from contextlib import nullcontext

from morefromless.canonical import canonical
from morefromless.config import RunConfig
from morefromless.devices import resolve_device, threads
from morefromless.runs import Run
from morefromless.torch_state import preserved_torch_state
from morefromless.training.pretrain import pretrain
from morefromless.training.supervised import supervise


def train(config: RunConfig) -> Run:
    """Train the run that `config` describes, and resume if an earlier call was stopped.

    Raises `ConfigError` or `DataError` before training if the options or the store are invalid,
    `RunBusy` if another process trains the run, and `TrainingError` if the loss becomes non-finite.
    """
    config = canonical(config)
    thread_limit = threads(config.threads) if config.threads else nullcontext()
    # With several devices, each process gets its own device later.
    device = resolve_device(config.machine.device) if config.devices == 1 else "cpu"
    with preserved_torch_state(device), thread_limit:
        return supervise(config) if config.arm.supervised else pretrain(config)
