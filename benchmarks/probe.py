"""The paper's probe: epochs of softmax on frozen features."""

import os
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks import Call, Row, Stage
from morefromless.probes.softmax import fit_linear_probe

CLASSES, EPOCHS = 9, 3


class Probe(Stage):
    """A dense layer with softmax on features of ResNet-50's width, Adam, batches of 128."""

    clock = "wall"
    threads = os.cpu_count() or 1

    def __init__(self, patches: int = 100_000, width: int = 2048) -> None:
        self.patches, self.width = patches, width

    @cached_property
    def features(self) -> Tensor:
        return torch.randn(self.patches, self.width)

    @cached_property
    def labels(self) -> Tensor:
        return torch.randint(CLASSES, (self.patches,))

    @property
    def title(self) -> str:
        return f"{EPOCHS} epochs of the softmax probe, {self.patches:,} x {self.width:,} features"

    @property
    def units(self) -> tuple[float, str]:
        return EPOCHS * self.patches, "patches"

    def rows(self) -> list[Row]:
        return [
            Row("morefromless", lambda: self._ours),
            Row("plain: DataLoader, nn.Linear, autograd", self._plain),
            Row("scikit-learn, SGDClassifier", self._sklearn, "scikit-learn"),
            Row("eva, HeadModule in Lightning's trainer", self._eva, "kaiko-eva"),
        ]

    def _ours(self) -> None:
        fit_linear_probe(self.features, self.labels, CLASSES, epochs=EPOCHS)

    @cached_property
    def _batches(self) -> "DataLoader[tuple[Tensor, ...]]":
        return DataLoader(TensorDataset(self.features, self.labels), 128, shuffle=True)

    def _plain(self) -> Call:
        data = self._batches
        layer = nn.Linear(self.width, CLASSES)
        optimiser = torch.optim.Adam(layer.parameters(), lr=1e-3)

        def epoch() -> None:
            for _ in range(EPOCHS):
                for features, labels in data:
                    optimiser.zero_grad()
                    loss = nn.functional.cross_entropy(layer(features), labels)
                    loss.backward()  # type: ignore[no-untyped-call]
                    optimiser.step()

        return epoch

    def _sklearn(self) -> Call:
        from sklearn.linear_model import SGDClassifier

        features, labels = self.features.numpy(), self.labels.numpy()
        classifier = SGDClassifier(loss="log_loss", n_jobs=self.threads)
        classes = list(range(CLASSES))
        return lambda: [classifier.partial_fit(features, labels, classes) for _ in range(EPOCHS)]

    def _eva(self) -> Call:
        from eva.core.models.modules import HeadModule
        from lightning.pytorch import Trainer

        layer = nn.Linear(self.width, CLASSES)
        module = HeadModule(head=layer, criterion=nn.CrossEntropyLoss())

        def fit() -> None:
            trainer = Trainer(
                max_epochs=EPOCHS,
                accelerator="cpu",
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
            )
            trainer.fit(module, self._batches)

        return fit
