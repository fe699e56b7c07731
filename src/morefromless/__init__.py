"""Train encoders for routine histology images with the help of information-dense data.

    source -> store -> pair -> views -> branches -> objective -> run -> frozen encoder -> results
    (ingest)  (disk)   (modalities of    (encoder +   (VICReg,    (disk)  (+ probe)       (one tidy
                        one patch)        expander)    SimCLR)                             table)

Each public name is one box of this line; the commands of `mfl` follow the same line.
"""

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

__version__ = version("morefromless")

if TYPE_CHECKING:
    from morefromless.branches import Branches as Branches
    from morefromless.config import Arm as Arm
    from morefromless.config import RunConfig as RunConfig
    from morefromless.config import StudyConfig as StudyConfig
    from morefromless.data.store import Store as Store
    from morefromless.evaluation.calibration import calibrate as calibrate
    from morefromless.evaluation.evaluate import evaluate as evaluate
    from morefromless.evaluation.frozen import FrozenEncoder as FrozenEncoder
    from morefromless.evaluation.loading import load_encoder as load_encoder
    from morefromless.evaluation.results import Results as Results
    from morefromless.inference.embed import embed as embed
    from morefromless.inference.inputs import open_inputs as open_inputs
    from morefromless.inference.predict import predict as predict
    from morefromless.inference.transformer import EncoderTransformer as EncoderTransformer
    from morefromless.ingest import ingest as ingest
    from morefromless.objectives import Objective as Objective
    from morefromless.pairs import Pair as Pair
    from morefromless.runner import run_all as run_all
    from morefromless.runs import Run as Run
    from morefromless.study import Study as Study
    from morefromless.study import compare as compare
    from morefromless.training.train import train as train

_MODULES = {
    "Arm": "config",
    "Branches": "branches",
    "EncoderTransformer": "inference.transformer",
    "FrozenEncoder": "evaluation.frozen",
    "Objective": "objectives",
    "Pair": "pairs",
    "Results": "evaluation.results",
    "Run": "runs",
    "RunConfig": "config",
    "Store": "data.store",
    "Study": "study",
    "StudyConfig": "config",
    "calibrate": "evaluation.calibration",
    "compare": "study",
    "embed": "inference.embed",
    "evaluate": "evaluation.evaluate",
    "ingest": "ingest",
    "load_encoder": "evaluation.loading",
    "open_inputs": "inference.inputs",
    "predict": "inference.predict",
    "run_all": "runner",
    "train": "training.train",
}

__all__ = ["__version__", *sorted(_MODULES)]


def __getattr__(name: str) -> Any:
    """Import public names on first use, so that `mfl --help` starts quickly."""
    if name not in _MODULES:
        raise AttributeError(f"module 'morefromless' has no attribute '{name}'")
    from pkgutil import resolve_name

    return resolve_name(f"morefromless.{_MODULES[name]}:{name}")


def __dir__() -> list[str]:
    return sorted(__all__)
