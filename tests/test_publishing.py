"""Streamed stores: equal patches, equal weights, and errors of storage."""

import copy
import io
import shutil
import tarfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import torch
from pyarrow.fs import S3FileSystem
from safetensors.torch import load_file

from morefromless.config import RunConfig
from morefromless.data import sharded
from morefromless.data.store import Store
from morefromless.errors import ConfigError, DataError
from morefromless.evaluation.frozen import random_encoder
from morefromless.files import StorageError
from morefromless.publishing import _shuffled, publish, stream
from morefromless.training.pretrain import pretrain
from morefromless.training.steps import SHUFFLE_WINDOW, Steps, windowed_permutation
from tests.conftest import changed, run_config
from tests.storage import BUCKET, s3_server

ADDRESS = f"s3://{BUCKET}/tissue"
SHARD_BYTES = 60_000
"""Size for seven patches of the tissue per shard, which gives 20 training shards."""
CACHE_BYTES = 20 * SHARD_BYTES
"""Size of the cache; the store has 27 shards."""


@pytest.fixture(scope="module")
def server(tissue: Store) -> Iterator[S3FileSystem]:
    with pytest.MonkeyPatch.context() as monkeypatch, s3_server(monkeypatch) as (_, owner):
        publish(tissue, ADDRESS, shard_bytes=SHARD_BYTES)
        yield owner


@pytest.fixture
def streamed(server: S3FileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """The streamed store, with a cache that is smaller than the store."""
    del server
    monkeypatch.setattr("morefromless.publishing.MIN_CACHED_SHARDS", 16)
    return stream(ADDRESS, tmp_path / "streamed", CACHE_BYTES / 1e9)


def test_streamed_store_equals_the_published_one(tissue: Store, streamed: Store) -> None:
    assert streamed.hash == tissue.hash
    pd.testing.assert_frame_equal(streamed.table, tissue.table)
    pd.testing.assert_frame_equal(streamed.nuclei, tissue.nuclei)
    for name, array in tissue.arrays.items():
        streamed_array = streamed.array(name)
        assert (streamed_array.shape, streamed_array.dtype, len(streamed_array)) == (
            array.shape,
            array.dtype,
            len(array),
        )
        for rows in (np.array([7, 3, 3]), 5, slice(3, 9), np.arange(180) == 4):
            np.testing.assert_array_equal(streamed_array[rows], array[rows])
        np.testing.assert_array_equal(np.asarray(streamed_array), array)
    cache = list((streamed.path / "cache").glob("*.tar"))
    assert sum(file.stat().st_size for file in cache) <= CACHE_BYTES
    assert streamed.shards is not None
    assert len(streamed.shards.index.shards) > len(cache)
    streamed.verify()
    np.testing.assert_array_equal(copy.deepcopy(streamed).array("he")[9], tissue.array("he")[9])


def test_shards_are_webdataset_archives(tissue: Store, server: S3FileSystem) -> None:
    with server.open_input_file(f"{BUCKET}/tissue/shards/000003.tar") as file:
        content = file.read()
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        names = tar.getnames()
        assert len(names) > 2
        for name in names:
            key, array, _ = name.split(".")
            values = np.load(io.BytesIO(cast(Any, tar.extractfile(name)).read()))
            np.testing.assert_array_equal(values, tissue.array(array)[int(key)])
    splits = {tissue.table["split"][int(name.split(".")[0])] for name in names}
    assert len(splits) == 1


def test_features_equal_those_of_the_local_store(tissue: Store, streamed: Store) -> None:
    frozen = random_encoder("test_resnet", "downsample:4", 32, 0, streamed.path)
    rows = tissue.indices("train")[::2]
    torch.testing.assert_close(frozen.represent(streamed, rows), frozen.represent(tissue, rows))


@pytest.mark.filterwarnings("error:'pin_memory'")  # pointless without a GPU, and PyTorch warns
def test_few_shards_give_the_weights_of_the_local_store(
    tissue: Store, server: S3FileSystem, tmp_path: Path
) -> None:
    del server
    address = f"s3://{BUCKET}/few"
    assert publish(tissue, address, shard_bytes=2 * SHARD_BYTES) <= SHUFFLE_WINDOW
    stream(address, tmp_path / "streamed", 1)
    _assert_same_weights(
        _train(tissue.path, tmp_path / "local"),
        _train(tmp_path / "streamed", tmp_path / "run", workers=1),
    )


def test_training_resumes_mid_epoch_after_a_missing_shard(
    tissue: Store, server: S3FileSystem, streamed: Store, tmp_path: Path
) -> None:
    mounted = tmp_path / "mounted"
    publish(tissue, str(mounted), shard_bytes=SHARD_BYTES)
    assert streamed.shards is not None
    numbers = streamed.shards.shard_numbers[tissue.indices("train")]
    steps = Steps(135, batch=8, epochs=1, seed=0, shards=numbers)
    early, late = (
        set(numbers[np.concatenate([steps.positions(s) for s in part])])
        for part in (range(9), range(9, 16))
    )
    shard = f"{BUCKET}/tissue/shards/{min(late - early):06}.tar"
    server.move(shard, f"{BUCKET}/aside")
    try:
        with pytest.raises(StorageError, match=r"There is no s3://patches/tissue/shards/\d{6}.tar"):
            _train(streamed.path, tmp_path / "cut")
    finally:
        server.move(f"{BUCKET}/aside", shard)
    assert (tmp_path / "cut/resume.ckpt").exists()
    _assert_same_weights(
        _train(streamed.path, tmp_path / "cut"), _train(mounted, tmp_path / "whole")
    )


def _train(store: Path, out: Path, **options: object) -> Path:
    config: RunConfig = run_config(store, out, epochs=1, batch=8, checkpoint_every=3, resident=0)
    return pretrain(changed(config, **options)).weights_path


def _assert_same_weights(first: Path, second: Path) -> None:
    a, b = load_file(first), load_file(second)
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_processes_share_the_patches_of_an_epoch() -> None:
    shards = np.arange(480) // 12
    shares = [
        list(Steps(480, batch=16, epochs=2, seed=1, rank=r, world=2, shards=shards))
        for r in range(2)
    ]
    for epoch in (slice(0, 30), slice(30, 60)):
        patches = np.concatenate([np.concatenate(share[epoch]) for share in shares])
        assert sorted(patches) == list(range(480))
    single = list(Steps(480, batch=16, epochs=2, seed=1, shards=shards))
    assert [a + b for a, b in zip(*shares, strict=True)] == single
    assert single[:30] != single[30:]


def test_few_shards_are_read_at_a_time() -> None:
    shards = np.arange(10_000) // 100
    order = windowed_permutation(shards, np.random.default_rng(0))
    place = pd.Series(np.arange(10_000)).groupby(shards[order])
    span = place.max() - place.min()
    assert span.max() <= (SHUFFLE_WINDOW + 1) * 100


def test_batches_of_a_store_sorted_by_class_are_mixed() -> None:
    labels = np.repeat(np.arange(9), 2000)
    table = pd.DataFrame({"split": ["train"] * len(labels)})
    shards = np.empty(len(labels), np.int64)
    for number, rows in enumerate(_shuffled(cast(Store, SimpleNamespace(table=table)), 200)):
        shards[rows] = number
    uniform = unevenness(labels, lambda random: random.permutation(len(labels)))
    streamed = unevenness(labels, lambda random: windowed_permutation(shards, random))
    sorted_ = unevenness(
        labels, lambda random: windowed_permutation(np.arange(len(labels)) // 200, random)
    )
    assert 0.9 < uniform < 1.1
    assert 0.9 < streamed < 1.1
    assert sorted_ > 3  # the result for shards in the order of the store


def unevenness(
    labels: npt.NDArray[np.int64],
    order: Callable[[np.random.Generator], npt.NDArray[np.int64]],
    batch: int = 256,
) -> float:
    """Variance of class counts per batch, relative to uniform draws; mean of ten epochs."""
    share = np.bincount(labels) / len(labels)
    expected = batch * share * (1 - share) * (len(labels) - batch) / (len(labels) - 1)
    ratios = []
    for epoch in range(10):
        permuted = labels[order(np.random.default_rng(epoch))]
        batches = permuted[: len(labels) // batch * batch].reshape(-1, batch)
        counts = np.stack([(batches == k).sum(1) for k in range(len(share))])
        ratios.append((((counts - batch * share[:, None]) ** 2).mean(1) / expected).mean())
    return float(np.mean(ratios))


def test_interrupted_publishing_resumes(tissue: Store, tmp_path: Path) -> None:
    place = tmp_path / "place"
    count = publish(tissue, str(place), shard_bytes=SHARD_BYTES)
    (place / "shards.json").unlink()
    first, second = (place / f"shards/00000{k}.tar" for k in (1, 2))
    first.write_bytes(first.read_bytes()[:9000])
    before = second.stat().st_mtime_ns
    with pytest.raises(DataError, match="no published store, or only a part of one"):
        stream(str(place), tmp_path / "streamed", 1)
    assert publish(tissue, str(place), shard_bytes=SHARD_BYTES) == count
    assert second.stat().st_mtime_ns == before
    np.testing.assert_array_equal(Store.open(place).array("he")[:], tissue.array("he"))


def test_truncated_shard_is_reported(streamed: Store, server: S3FileSystem) -> None:
    place = f"{BUCKET}/tissue/shards/000000.tar"
    with server.open_input_file(place) as file:
        content = file.read()
    try:
        with server.open_output_stream(place) as file:
            file.write(content[:9000])
        with pytest.raises(StorageError, match=r"000000.tar is damaged \(9,000 of 6"):
            streamed.array("he")[:]
    finally:
        with server.open_output_stream(place) as file:
            file.write(content)
    assert len(streamed.array("he")[:]) == 180


def test_truncated_shard_of_a_file_system_is_reported(tissue: Store, tmp_path: Path) -> None:
    publish(tissue, str(tmp_path / "place"))
    shard = tmp_path / "place/shards/000001.tar"
    shard.write_bytes(shard.read_bytes()[:9000])
    with pytest.raises(StorageError, match=r"000001.tar is missing or damaged; publish"):
        Store.open(tmp_path / "place").array("he")[:]


def test_denied_access_is_reported(streamed: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moto.settings.INITIAL_NO_AUTH_ACTION_COUNT", 0)
    with pytest.raises(StorageError, match=r"Access to s3://patches/tissue/shards/.*tar is denied"):
        streamed.array("he")[:]
    with pytest.raises(StorageError, match=r"Access to s3://patches/tissue/shards.json is denied"):
        stream(ADDRESS, streamed.path, 1)


def test_unreachable_server_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    start_time = time.monotonic()
    with pytest.raises(StorageError, match=r"shards.json cannot be reached \(NETWORK_CONNECTION"):
        stream(ADDRESS, tmp_path / "streamed", 1)
    assert time.monotonic() - start_time < 20
    assert not (tmp_path / "streamed").exists()


@pytest.mark.usefixtures("server")
def test_addresses_without_a_published_store_are_refused(tissue: Store, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="s3://patches/nothing has no published store"):
        stream(f"s3://{BUCKET}/nothing", tmp_path / "streamed", 1)
    with pytest.raises(DataError, match="s3://nobody/tissue has no published store"):
        stream("s3://nobody/tissue", tmp_path / "streamed", 1)
    with pytest.raises(ConfigError, match=r"https://host/name is not the address of a store"):
        stream("https://host/name", tmp_path / "streamed", 1)
    with pytest.raises(ConfigError, match="holds a store of whole arrays"):
        publish(tissue, str(tissue.path))


def test_destinations_with_other_content_are_refused(
    tissue: Store, streamed: Store, pretraining: RunConfig, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="is already stored in shards"):
        publish(streamed, str(tmp_path / "again"))
    with pytest.raises(ConfigError, match=r"--cache-gb 1e-05 is less .*; give 0.000"):
        stream(ADDRESS, streamed.path, 1e-5)
    with pytest.raises(DataError, match="holds something else"):
        stream(ADDRESS, pretraining.store, 1)
    shutil.copytree(tissue.path, tmp_path / "other")
    meta = (tmp_path / "other/meta.json").read_text().replace(tissue.hash, "0" * 32)
    (tmp_path / "other/meta.json").write_text(meta)
    (tmp_path / "place").mkdir()
    shutil.copy(tmp_path / "other/meta.json", tmp_path / "place")
    with pytest.raises(ConfigError, match="holds another store"):
        publish(tissue, str(tmp_path / "place"))


def test_damaged_index_is_refused(tissue: Store, tmp_path: Path) -> None:
    publish(tissue, str(tmp_path / "place"))
    index = tmp_path / "place/shards.json"
    text = index.read_text()
    for change in (("[0,", "[1,"), ('"he":640', '"he":64000000'), (tissue.hash, "0" * 32)):
        assert change[0] in text
        index.write_text(text.replace(*change, 1))
        with pytest.raises(DataError, match=r"shards.json is missing or damaged"):
            Store.open(tmp_path / "place")


def test_threads_may_read_the_first_shard_together(
    tissue: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second thread once used an incomplete state of the first."""
    publish(tissue, str(tmp_path / "published"), shard_bytes=SHARD_BYTES)
    store = stream(str(tmp_path / "published"), tmp_path / "streamed", 1)
    shards, original_pool = store.shards, sharded.ThreadPoolExecutor
    assert shards is not None

    def slow(workers: int) -> ThreadPoolExecutor:
        with monkeypatch.context() as patch:
            patch.setattr(sharded, "ThreadPoolExecutor", original_pool)
            with original_pool(1) as executor:
                executor.submit(shards.prefetch, [0]).result()
        return original_pool(workers)

    monkeypatch.setattr(sharded, "ThreadPoolExecutor", slow)
    assert len(shards.map_shard(0)) == shards.index.shards[0].bytes
