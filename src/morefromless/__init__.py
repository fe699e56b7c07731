"""Trains encoders for routine histology images that know what information-dense data know.

    source -> store -> pair -> views -> branches -> objective -> run -> features -> probe -> table
    (ingest)  (disk)   (modalities of    (encoder +   (VICReg,    (disk) (disk)      (compare)
                        one patch)        expander)    SimCLR)

Each name below is one box of that line; `mfl --help` is the same line as commands.
"""

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

__version__ = version("morefromless")

if TYPE_CHECKING:
    from morefromless.branches import Branches as Branches
    from morefromless.comparison.compare import compare as compare
    from morefromless.comparison.transfer import transfer as transfer
    from morefromless.data.store import Store as Store
    from morefromless.evaluation.evaluate import evaluate as evaluate
    from morefromless.ingest import ingest as ingest
    from morefromless.objectives import Objective as Objective
    from morefromless.options import CompareOptions as CompareOptions
    from morefromless.options import PretrainOptions as PretrainOptions
    from morefromless.options import SuperviseOptions as SuperviseOptions
    from morefromless.options import TransferOptions as TransferOptions
    from morefromless.pairs import Pair as Pair
    from morefromless.runs import Run as Run
    from morefromless.training.pretrain import pretrain as pretrain
    from morefromless.training.supervised import supervise as supervise

_HOME = {
    "Branches": "morefromless.branches",
    "CompareOptions": "morefromless.options",
    "Objective": "morefromless.objectives",
    "Pair": "morefromless.pairs",
    "PretrainOptions": "morefromless.options",
    "Run": "morefromless.runs",
    "Store": "morefromless.data.store",
    "SuperviseOptions": "morefromless.options",
    "TransferOptions": "morefromless.options",
    "compare": "morefromless.comparison.compare",
    "evaluate": "morefromless.evaluation.evaluate",
    "ingest": "morefromless.ingest",
    "pretrain": "morefromless.training.pretrain",
    "supervise": "morefromless.training.supervised",
    "transfer": "morefromless.comparison.transfer",
}

__all__ = ["__version__", *sorted(_HOME)]


def __getattr__(name: str) -> Any:
    """Public names are imported when first asked for, so that `mfl --help` need not wait."""
    if name not in _HOME:
        raise AttributeError(f"module 'morefromless' has no attribute '{name}'")
    from pkgutil import resolve_name

    return resolve_name(f"{_HOME[name]}:{name}")
