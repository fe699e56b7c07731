"""Cross-modal retrieval: find the privileged view of a primary view, and vice versa."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from morefromless.branches import Expander
from morefromless.config import Probe
from morefromless.data.store import Store
from morefromless.encoders import tensors_below
from morefromless.errors import ConfigError, DataError
from morefromless.evaluation.frozen import FrozenEncoder
from morefromless.questions import Question, Reply, Score
from morefromless.runs import Run

QUERIES_PER_BATCH = 1024
"""Queries per batch."""


@dataclass(frozen=True)
class Retrieval(Question):
    """Recall at k, for each k of `at`: how often the k nearest patches include the query patch.

    Example: `retrieval:at=1/5/10`. Queries and gallery are the test patches that have both views.
    The embeddings are the outputs of the expander, which the objective aligns. They are compared by
    cosine similarity.
    """

    at: tuple[int, ...] = (1, 5, 10)

    def __post_init__(self) -> None:
        if min(self.at, default=0) < 1:
            raise ConfigError("retrieval needs values of k of 1 or more, such as at=1/5/10.")

    def evaluate(
        self,
        encoders: Mapping[str, FrozenEncoder],
        store: Store,
        probe: Probe,  # noqa: ARG002
        task: str,  # noqa: ARG002
        device: str = "cpu",
    ) -> Reply:
        if {"primary", "privileged"} - set(encoders):
            raise ConfigError(
                "Retrieval needs the primary and the privileged branch, but this run provides one "
                "branch only; give a run of --kind asymmetric or trident."
            )
        pair = {name: encoders[name] for name in ("primary", "privileged")}
        rows = store.select(*(encoder.modality for encoder in pair.values())).indices("test")
        if not len(rows):
            raise DataError(f"No test patch of {store.path} has both views; give another store.")
        embeddings = {
            name: _expand(frozen, frozen.represent(store, rows, device, f"retrieval, {name}"))
            for name, frozen in pair.items()
        }
        primary, privileged = embeddings["primary"], embeddings["privileged"]
        directions = {
            "primary to privileged": recalls(primary, privileged, self.at),
            "privileged to primary": recalls(privileged, primary, self.at),
            "by chance": [min(1.0, k / len(rows)) for k in self.at],
        }
        return Reply(
            "Retrieval across the pair, recall %",
            [
                Score(title, f"at {k}", value)
                for title, values in directions.items()
                for k, value in zip(self.at, values, strict=True)
            ],
            [f"Each of {len(rows):,} test patches is a query; the gallery is all of them."],
        )


def recalls(queries: Tensor, gallery: Tensor, at: tuple[int, ...]) -> list[float]:
    """Recall at each k: the fraction of queries (N, D) whose own row of the gallery (N, D) is among
    the k rows with the highest cosine similarity. Ties and NaN similarities rank before it.

    >>> recalls(torch.eye(3), torch.eye(3)[[0, 2, 1]], (1, 2))
    [0.3333333432674408, 0.3333333432674408]
    """
    gallery, ranks = normalize(gallery, dim=1), []
    for start in range(0, len(queries), QUERIES_PER_BATCH):
        similarities = normalize(queries[start : start + QUERIES_PER_BATCH], dim=1) @ gallery.T
        pair_similarity = similarities.gather(
            1, torch.arange(start, start + len(similarities))[:, None]
        )
        ranks.append((~(similarities < pair_similarity)).sum(1))
    return [float((torch.cat(ranks) <= k).float().mean()) for k in at]


@torch.no_grad()
def _expand(frozen: FrozenEncoder, representations: Tensor) -> Tensor:
    """Pass representations (N, width) through the expander of their branch, if it has one."""
    assert frozen.metadata is not None
    assert frozen.folder is not None
    prefix = frozen.metadata.branches[frozen.name].prefix.removesuffix("encoder.") + "expander."
    state = tensors_below(prefix, Run(frozen.folder).weights())
    if not state:
        return representations
    width, inputs = state["0.weight"].shape
    expander = Expander(inputs, width, len(state["6.weight"]))
    expander.load_state_dict(state)
    embeddings: Tensor = expander.eval()(representations)
    return embeddings
