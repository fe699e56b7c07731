"""What can go wrong for a user. Each message says what, where, and what to do.

The command line turns any `MoreFromLessError` into that one sentence and exit code 2; everything
else is a defect of ours and keeps its traceback.
"""


class MoreFromLessError(Exception):
    """Base of every error that a user can mend."""


class ConfigError(MoreFromLessError):
    """An option, a name or a combination of options that cannot work."""


class DataError(MoreFromLessError):
    """A source or a store that cannot be used as it is."""


class UnreadablePatch(DataError):
    """One patch that cannot be used; it is set aside with this reason and the run goes on."""


class TrainingError(MoreFromLessError):
    """A run that had to stop: a loss that is not finite, a checkpoint that does not fit."""


class RunBusy(TrainingError):
    """A run that another process is training."""
