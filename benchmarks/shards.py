"""Batches of a store in shards, compared with a local store and with other packages."""

import tempfile
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from benchmarks import Call, Row, Stage
from morefromless.data.store import Store
from morefromless.ingest import ingest
from morefromless.ingest.opening import open_source
from morefromless.publishing import publish
from morefromless.training.steps import windowed_permutation

BATCH = 100


class Shards(Stage):
    """Patches in the order of an epoch, read in one process from cached files on a local disk.

    WebDataset reads the same shards with a buffer of 1,000 patches; litdata reads chunks of 32 MiB.
    """

    def __init__(self, patches: int = 900, size: int = 224) -> None:
        self.count, self.size = patches, size
        self._temporary = tempfile.TemporaryDirectory()

    @property
    def title(self) -> str:
        return f"Batches of {BATCH} of {self.count:,} patches of {self.size} px"

    @property
    def units(self) -> tuple[float, str]:
        return len(self.store.table), "patches"

    @cached_property
    def folder(self) -> Path:
        return Path(self._temporary.name)

    @cached_property
    def store(self) -> Store:
        source = open_source(f"synthetic:patches={self.count},size={self.size}")
        ingest(source, self.folder / "store", progress=False)
        publish(Store.open(self.folder / "store"), str(self.folder / "shards"))
        return Store.open(self.folder / "store")

    def rows(self) -> list[Row]:
        return [
            Row("in shards", self._in_shards),
            Row("a local store", self._local),
            Row("WebDataset", self._webdataset, "webdataset"),
            Row("litdata", self._litdata, "litdata"),
        ]

    def _in_shards(self) -> Call:
        assert len(self.store.table)
        published = Store.open(self.folder / "shards")
        assert published.shards is not None
        order = windowed_permutation(published.shards.shard_numbers, np.random.default_rng(0))
        return partial(_read, published.array("he"), order)

    def _local(self) -> Call:
        order = np.random.default_rng(0).permutation(len(self.store.table))
        return partial(_read, self.store.array("he"), order)

    def _webdataset(self) -> Call:
        import webdataset

        assert len(self.store.table)
        shards = sorted(map(str, (self.folder / "shards/shards").glob("*.tar")))
        data = webdataset.WebDataset(shards, shardshuffle=len(shards), empty_check=False)
        batches = data.shuffle(1000).decode().to_tuple("he.npy").batched(BATCH)
        return partial(_drain, lambda: (batch for (batch,) in batches))

    def _litdata(self) -> Call:
        from litdata import StreamingDataLoader, StreamingDataset
        from litdata.streaming import Cache

        folder = self.folder / "litdata"
        if not folder.exists():
            cache = Cache(input_dir=str(folder), chunk_bytes=2**25)
            for row, patch in enumerate(self.store.array("he")):
                cache[row] = {"he": np.asarray(patch)}
            cache.done()
            cache.merge()
        data = StreamingDataset(str(folder), shuffle=True, seed=0)
        loader = StreamingDataLoader(data, batch_size=BATCH, num_workers=0)
        return partial(_drain, lambda: (batch["he"] for batch in loader))


def _read(array: npt.NDArray[Any], order: npt.NDArray[np.int64]) -> None:
    _drain(lambda: (array[order[k : k + BATCH]] for k in range(0, len(order), BATCH)))


def _drain(batches: Callable[[], Iterator[Any]]) -> None:
    for batch in batches():
        torch.as_tensor(np.asarray(batch)).sum()
