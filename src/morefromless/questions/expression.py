"""Prediction of gene expression, or any other vector per patch, from frozen features."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from morefromless.analysis.headroom import predict_out_of_fold
from morefromless.config import Probe
from morefromless.data.store import Store
from morefromless.errors import DataError
from morefromless.evaluation.frozen import FrozenEncoder
from morefromless.questions import Question, Reply, Score


@dataclass(frozen=True)
class Expression(Question):
    """Pearson correlation per gene, on the test patches, of ridge regression on frozen features.

    Example: `expression:array=expression,show=10`. The penalty of each gene is selected by
    cross-validation on the training patches. Features and values are centred with the means of the
    training patches.
    """

    array: str = "expression"
    show: int = 10
    """Number of genes with their own row: those that the first branch predicts best."""

    def evaluate(
        self,
        encoders: Mapping[str, FrozenEncoder],
        store: Store,
        probe: Probe,  # noqa: ARG002
        task: str,  # noqa: ARG002
        device: str = "cpu",
    ) -> Reply:
        if store.array(self.array).ndim != 2:
            raise DataError(
                f"'{self.array}' of {store.path} holds images; name an array of vectors."
            )
        by_branch = {
            name: self._correlations(frozen, store, device)
            for name, frozen in encoders.items()
            if frozen.modality.array != self.array
        }
        if not by_branch:
            raise DataError(
                f"Every encoder takes '{self.array}' as its input, so there is nothing to predict."
            )
        genes, first = store.channels(self.array), next(iter(by_branch.values()))
        best = first.nan_to_num(-2).argsort(descending=True)[: self.show].tolist()
        scores = []
        for name, values in by_branch.items():
            scores.append(Score("mean of all genes", name, float(values.nanmean())))
            scores.append(Score("median of all genes", name, float(values.nanquantile(0.5))))
            scores += [Score(genes[k], name, float(values[k])) for k in best]
        constant = int(first.isnan().sum())
        notes = [
            "Ridge regression on frozen features; the genes shown have the best test correlation."
        ]
        if constant:
            notes.append(
                f"Genes with constant values or predictions have no correlation: {constant:,}."
            )
        return Reply(f"{self.array}: Pearson's correlation", scores, notes, share=False)

    def _correlations(self, frozen: FrozenEncoder, store: Store, device: str) -> Tensor:
        """Correlations (genes,), NaN if a gene or its prediction is constant."""
        store = store.select(frozen.modality, self.array)
        rows = {split: store.indices(split) for split in ("train", "test")}
        x, y = {}, {}
        for split, indices in rows.items():
            x[split] = frozen.represent(store, indices, device, f"{frozen.name}, {split}").double()
            y[split] = torch.from_numpy(store.array(self.array)[indices]).double()
        if len(rows["test"]) < 3:
            raise DataError(f"{store.path} has fewer than 3 test patches with '{self.array}'.")
        means = {"x": x["train"].mean(0), "y": y["train"].mean(0)}
        centred, target = x["train"] - means["x"], y["train"] - means["y"]
        _, predicted = predict_out_of_fold(centred, target, x["test"] - means["x"])
        return pearson(predicted, y["test"])


def pearson(a: Tensor, b: Tensor) -> Tensor:
    """Pearson correlation per column of (N, K) and (N, K): (K,), NaN if a column is constant."""
    a, b = a - a.mean(0), b - b.mean(0)
    product = (a * b).sum(0) / (a.norm(dim=0) * b.norm(dim=0))
    return torch.where((a.norm(dim=0) > 1e-9) & (b.norm(dim=0) > 1e-9), product, torch.nan)
