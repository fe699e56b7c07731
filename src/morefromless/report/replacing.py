"""The note of `mfl compare` if its folder holds another comparison, which it replaces."""

from morefromless.config import Machine, Planning, StudyConfig, differences, to_flat
from morefromless.errors import ConfigError
from morefromless.evaluation.results import Results

IGNORED_OPTIONS = {*vars(Machine()), *vars(Planning()), "store", "out", "runs", "jobs"} - {
    "probe_every"
}
"""Options that do not change the numbers in a comparison's tables and figures."""


def replacement_note(config: StudyConfig, store_hash: str) -> str | None:
    """A sentence if the folder holds a comparison with other options or data, else None.

    Options that add seeds or arms, and so extend a comparison, also count as other options.
    """
    try:
        results = Results.load(config.out)
    except ConfigError:  # there is none, or it cannot be read
        return None
    options = {
        name: value for name, value in to_flat(config).items() if name not in IGNORED_OPTIONS
    }
    changes = differences(to_flat(results.config), options)
    if results.data.hash != store_hash:
        changes.insert(0, f"the store had other patches ({results.config.store})")
    if not changes:
        return None
    return (
        f"{config.out} holds a comparison with other options: {'; '.join(changes)}. Its tables and "
        "its page will be replaced; its runs are kept."
    )
