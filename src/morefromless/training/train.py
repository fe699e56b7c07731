"""Training one run, whatever its arm."""

from morefromless.canonical import canonical
from morefromless.config import RunConfig
from morefromless.runs import Run
from morefromless.training.pretrain import pretrain
from morefromless.training.supervised import supervise


def train(config: RunConfig) -> Run:
    """Train the run that `config` describes, going on where an earlier call was stopped.

    Raises `ConfigError` or `DataError` before anything is trained where the options or the store
    cannot work, `RunBusy` where another process trains it, `TrainingError` where the loss stops
    being finite.
    """
    config = canonical(config)
    return supervise(config) if config.arm.supervised else pretrain(config)
