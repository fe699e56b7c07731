"""All ways of loading data to the device give the same images."""

import gc
from typing import get_args

import numpy as np
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from morefromless.config import RunConfig
from morefromless.data.store import Store
from morefromless.objectives.soft_labels import SoftLabels
from morefromless.pairs import Pair
from morefromless.training.classifier import _soft_label_loss
from morefromless.training.curve import Curve
from morefromless.training.feed import Feed, Residency, choose_residency
from morefromless.training.pretrain import pretrain
from morefromless.training.steps import Steps
from tests.conftest import changed


def test_images_are_the_same_for_every_residency(tissue: Store) -> None:
    pair = Pair({"primary": "downsample:4", "privileged": "full"}, "plain", 24)
    train = tissue.indices("train")
    steps = Steps(len(train), batch=16, epochs=1, seed=0)
    device = torch.device("cpu")
    rendered, stored, streamed = (
        Feed(tissue, train, pair, device, residency) for residency in get_args(Residency)
    )
    assert set(rendered.resident) == {"primary", "privileged"}
    assert set(stored.resident) == {"he"}
    assert not streamed.resident
    loaders = [feed.loader(steps, workers=0, pin=False) for feed in (rendered, stored, streamed)]
    for batches in zip(*loaders, strict=True):
        a, b, c = (
            feed.images(batch)
            for feed, batch in zip((rendered, stored, streamed), batches, strict=True)
        )
        for name in a:
            assert torch.equal(a[name], b[name])
            assert torch.equal(a[name], c[name])
        assert torch.equal(batches[0]["label"], batches[2]["label"])


def test_residency_is_what_fits_in_memory(tissue: Store) -> None:
    pair = Pair({"primary": "downsample:4", "privileged": "full"}, "plain", 24)
    inputs, arrays = 100 * 2 * 24 * 24 * 3 * 4, 100 * 32 * 32 * 3
    expected = {
        ("cuda", inputs): ("inputs", inputs),
        ("cuda", inputs - 1): ("arrays", arrays),
        ("cuda", arrays - 1): ("nothing", 0),
        ("cpu", inputs): ("inputs", inputs),
        ("cpu", inputs - 1): ("nothing", 0),
    }
    for (device, memory), choice in expected.items():
        assert choose_residency(tissue, pair, 100, torch.device(device), memory) == choice


def test_labels_belong_to_their_images(tissue: Store) -> None:
    pair = Pair({"primary": "full"}, "plain", 32)
    test = tissue.indices("test")
    feed = Feed(tissue, test, pair, torch.device("cpu"))
    batch = feed.__getitems__([3, 0])
    assert batch["label"].tolist() == tissue.labels[test[[3, 0]]].tolist()
    stored = torch.from_numpy(np.array(tissue.array("he")[test[3]])).permute(2, 0, 1) / 255
    torch.testing.assert_close(feed.images(batch)["primary"][0], stored)


def test_a_finished_run_keeps_no_images_in_memory(pretraining: RunConfig) -> None:
    pretrain(changed(pretraining, epochs=1, probe_every=5))
    gc.collect()
    assert not [instance for instance in gc.get_objects() if type(instance) in (Feed, Curve)]


def test_images_are_moved_from_the_cpu_to_the_gpu_of_the_batch(tissue: Store) -> None:
    """The processes of one run keep images on the CPU. Fake tensors need no GPU."""
    pair = Pair({"primary": "downsample:4"}, "plain", 24)
    soft_labels = torch.zeros(len(tissue.indices("train")), 9)
    feed = Feed(tissue, tissue.indices("train"), pair, torch.device("cpu"))
    with FakeTensorMode(allow_non_fake_inputs=True):
        positions = torch.zeros(4, dtype=torch.int64, device="cuda")
        images = feed.images({"position": positions})
        assert images["primary"].device.type == "cuda"
        learn = _soft_label_loss(SoftLabels(), soft_labels)
        scores = {"primary": torch.zeros(4, 9, device="cuda")}
        _, loss = learn(nn.Identity(), scores, {"position": positions, "label": positions})  # type: ignore[arg-type]
        assert loss.total.device.type == "cuda"
