"""CKA against the reference implementations, its invariances, and real networks."""

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn

from morefromless.analysis.cka import Cka, cka, gram
from morefromless.analysis.layers import (
    blocks,
    convolutions,
    execution_order,
    select_layers,
    stage_convolutions,
)
from morefromless.errors import ConfigError, DataError
from tests.conformance import Case, cases

ALL = cases("cka")
PAIRS = [case for case in ALL if case.entry["kind"] in ("pair", "pair_scaled")]
MINIBATCHES = [case for case in ALL if case.entry["kind"] == "minibatch"]
PRECISIONS = {"f64": torch.float64, "f32": torch.float32}


def inputs(case: Case, dtype: torch.dtype) -> dict[str, Tensor]:
    return {name: torch.from_numpy(np.asarray(x)).to(dtype) for name, x in case.inputs.items()}


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("case", PAIRS, ids=str)
def test_agrees_with_the_references(case: Case, precision: str) -> None:
    tensors = inputs(case, PRECISIONS[precision])
    x, y = tensors["x"], tensors["y"] * case.params.get("scale_y", 1.0)
    results = {
        "linear_cka": cka(x, y, "biased"),
        "debiased_cka": cka(x, y),
        "unbiased_cka": cka(x, y),
        "minibatch_cka_one_batch": cka(x, y),
    }
    accumulator = Cka({"x": ["x"], "y": ["y"]})
    accumulator.add_features({("x", "x"): x, ("y", "y"): y})
    hsic = np.asarray(accumulator.hsic)
    results |= {"hsic1_xx": hsic[0, 0], "hsic1_xy": hsic[0, 1], "hsic1_yy": hsic[1, 1]}
    names = case.names()
    assert {name.rpartition(".")[2] for name in names} <= set(results)
    for name in names:
        case.close(results[name.rpartition(".")[2]], name, precision)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("case", MINIBATCHES, ids=str)
def test_minibatches_agree_with_the_references(case: Case, precision: str) -> None:
    tensors = inputs(case, PRECISIONS[precision])
    sizes = [int(size) for size in tensors.pop("batch_sizes").tolist()]
    layers = {m: sorted(k for k in tensors if k.startswith(m)) for m in ("m1", "m2")}
    batches = {name: x.split(sizes) for name, x in tensors.items()}
    batched_cka, full_biased = Cka(layers), Cka(layers, "biased")
    full_debiased = Cka(layers)
    per_batch = []
    for number in range(len(sizes)):
        features = {(m, k): batches[k][number] for m, names in layers.items() for k in names}
        batched_cka.add_features(features)
        batch_cka = Cka(layers)
        batch_cka.add_features(features)
        half = len(layers["m1"])
        hsic, diagonal = np.asarray(batch_cka.hsic), np.diag(np.asarray(batch_cka.hsic))
        per_batch.append(
            np.stack(
                np.broadcast_arrays(
                    diagonal[:half, None], hsic[:half, half:], diagonal[None, half:]
                ),
                axis=-1,
            )
        )
    all_features = {(m, k): tensors[k] for m, names in layers.items() for k in names}
    full_biased.add_features(all_features)
    full_debiased.add_features(all_features)
    results = {
        "minibatch_cka": batched_cka.between("m1", "m2"),
        "hsic1_per_batch": np.stack(per_batch),
        "full_batch_linear_cka": full_biased.between("m1", "m2"),
        "full_batch_debiased_cka": full_debiased.between("m1", "m2"),
    }
    for name in case.names():
        case.close(results[name.rpartition(".")[2]], name, precision)


@pytest.mark.parametrize("estimator", ["unbiased", "biased"])
def test_features_that_do_not_vary_are_refused(estimator: str) -> None:
    for constant in (torch.full((9, 5), 0.1), torch.zeros(9, 5), torch.randn(1, 5).expand(9, 5)):
        with pytest.raises(DataError, match="Layer 'x' of x has the same features for all patches"):
            cka(constant, torch.randn(9, 4), estimator)  # type: ignore[arg-type]


def test_a_layer_that_varies_in_one_batch_is_not_constant() -> None:
    torch.manual_seed(0)
    varying, constant = torch.randn(9, 5), torch.full((9, 5), 0.1)
    for batches in ([varying, constant], [constant, varying]):
        accumulator = Cka({"x": ["x"]})
        for batch in batches:
            accumulator.add_features({("x", "x"): batch})
        assert accumulator.constant("x") == []


def test_rounding_errors_of_a_large_value_are_not_variation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("morefromless.analysis.cka.FEATURES_PER_BLOCK", 2)
    for columns in ([0, 1, 2, 3], [3, 2, 1, 0]):  # regardless of the block of features
        features = torch.zeros(9, 4)
        features[:, 0] = 1000
        features[::2, 0] += 1000 * torch.finfo(torch.float32).eps
        _, varies = gram(features[:, columns])
        assert not varies
    assert gram(features - 1000 * (features > 1))[1]


def test_cka_has_its_invariances() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(20, 6).double(), torch.randn(20, 9).double()
    rotation = torch.linalg.qr(torch.randn(6, 6).double())[0]
    for estimator in ("unbiased", "biased"):
        value = cka(x, y, estimator)  # type: ignore[arg-type]
        unchanged = pytest.approx(value, rel=1e-10)
        assert cka(x @ rotation, y, estimator) == unchanged  # type: ignore[arg-type]
        assert cka(-3.7 * x, y, estimator) == unchanged  # type: ignore[arg-type]
        assert cka(x + 100, y, estimator) == unchanged  # type: ignore[arg-type]
        assert cka(y, x, estimator) == unchanged  # type: ignore[arg-type]
        assert cka(x, x, estimator) == pytest.approx(1, rel=1e-12)  # type: ignore[arg-type]
        assert cka(x @ torch.randn(6, 6).double(), y, estimator) != unchanged  # type: ignore[arg-type]


def test_chunks_of_features_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    features = torch.randn(12, 7, 5, 5)
    expected, _ = gram(features.double())
    monkeypatch.setattr("morefromless.analysis.cka.FEATURES_PER_BLOCK", 11)
    actual, _ = gram(features)
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-4)


def test_small_differences_survive_float32() -> None:
    """A barely trained network: patches differ by a ten-thousandth of their common part."""
    torch.manual_seed(1)
    shared, x, y = torch.randn(300).double() * 10, torch.randn(40, 300), torch.randn(40, 300)
    mixed = (x + y).double() * 1e-3
    a, b = shared + x.double() * 1e-3, shared + mixed
    exact = cka(a, b)
    assert cka(a.float(), b.float()) == pytest.approx(exact, rel=2e-3)
    raw = a.float() @ a.float().T  # the result of centring the float32 Gram matrix instead
    naive, _ = torch.linalg.eigh(raw - raw.mean(0) - raw.mean(1)[:, None] + raw.mean())
    true, _ = torch.linalg.eigh((a - a.mean(0)) @ (a - a.mean(0)).T)
    assert (naive.double() - true).abs().max() > 0.1 * true.max()


def test_estimates_from_batches_of_different_sizes_agree() -> None:
    """Batches of 64, 128 and 256 patches agree with the unbiased estimator, not the biased one."""
    torch.manual_seed(2)
    common = torch.randn(1024, 10)
    x = torch.cat([common, 0.5 * torch.randn(1024, 300)], dim=1)
    y = torch.cat([common, 0.5 * torch.randn(1024, 300)], dim=1)
    unbiased, biased = {}, {}
    for size in (64, 128, 256):
        accumulator = Cka({"x": ["x"], "y": ["y"]})
        for a, b in zip(x.split(size), y.split(size), strict=True):
            accumulator.add_features({("x", "x"): a, ("y", "y"): b})
        unbiased[size] = accumulator.between("x", "y")[0, 0]
        biased[size] = np.mean(
            [cka(a, b, "biased") for a, b in zip(x.split(size), y.split(size), strict=True)]
        )
    assert max(unbiased.values()) - min(unbiased.values()) < 0.01
    assert max(biased.values()) - min(biased.values()) > 0.05


def _networks() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    return {
        "a": timm.create_model("test_resnet", num_classes=0),
        "b": timm.create_model("test_vit", num_classes=0, dynamic_img_size=True),
    }


def test_networks_of_different_depth_and_kind_are_compared() -> None:
    networks = _networks()
    layers = {name: select_layers(network) for name, network in networks.items()}
    assert len(layers["a"]) == len(convolutions(networks["a"])) > 10
    assert layers["b"] == blocks(networks["b"])
    images = [torch.rand(8, 3, 32, 32) for _ in range(3)]
    accumulator = Cka(layers)
    recorded: dict[tuple[str, str], list[Tensor]] = {}
    for batch in images:
        accumulator.add(networks, dict.fromkeys(networks, batch))
        for name, network in networks.items():
            network.eval()
            for layer in layers[name]:
                module = network.get_submodule(layer)
                handle = module.register_forward_hook(
                    lambda *arguments, key=(name, layer): recorded.setdefault(key, []).append(
                        arguments[2].clone()
                    )
                )
                with torch.no_grad():
                    network(batch)
                handle.remove()
    reference = Cka(layers)
    for number in range(3):
        reference.add_features({key: outputs[number].double() for key, outputs in recorded.items()})
    np.testing.assert_allclose(
        accumulator.between("a", "b"), reference.between("a", "b"), rtol=1e-3, atol=1e-4
    )
    within = accumulator.between("a", "a")
    np.testing.assert_allclose(np.diag(within), 1, rtol=1e-9)
    np.testing.assert_allclose(within, within.T, rtol=1e-9)
    np.testing.assert_allclose(accumulator.between("b", "a"), accumulator.between("a", "b").T)


def test_evaluation_mode_is_temporary() -> None:
    networks = _networks()
    networks["a"].train()
    before = {k: v.clone() for k, v in networks["a"].state_dict().items()}
    accumulator = Cka({"a": select_layers(networks["a"])[:1], "b": ["blocks.0"]})
    accumulator.add(networks, dict.fromkeys(networks, torch.rand(5, 3, 32, 32)))
    assert networks["a"].training
    for key, value in networks["a"].state_dict().items():
        assert torch.equal(value, before[key])


def test_invalid_input_is_refused_in_one_sentence() -> None:
    network = timm.create_model("test_resnet", num_classes=0)
    with pytest.raises(
        ConfigError, match=r"no layer 'layer1.0.conv'; did you mean .*layer1.0.conv1"
    ):
        select_layers(network, ["layer1.0.conv"])
    with pytest.raises(ConfigError, match="batches of 4 patches or more, not 3"):
        cka(torch.randn(3, 5), torch.randn(3, 5))
    accumulator = Cka({"x": ["x"]}, "biased")
    accumulator.add_features({("x", "x"): torch.randn(5, 2)})
    with pytest.raises(ConfigError, match="one batch of all patches"):
        accumulator.add_features({("x", "x"): torch.randn(5, 2)})
    with pytest.raises(DataError, match="No batch"):
        Cka({"x": ["x"]}).between("x", "x")
    with pytest.raises(ConfigError, match="no blocks"):
        select_layers(nn.Linear(2, 2), "blocks")


@pytest.mark.parametrize(
    ("name", "stages", "count"),
    [
        ("resnet50", ["conv1", *[f"layer{k}.0.conv1" for k in range(1, 5)]], 53),
        ("mobilenetv2_100", None, 52),
        ("legacy_xception", None, None),
        ("convnext_atto", None, None),
    ],
)
def test_layers_of_known_networks(name: str, stages: list[str] | None, count: int | None) -> None:
    network = timm.create_model(name, num_classes=0)
    all_layers = convolutions(network)
    if count:
        assert len(all_layers) == count
    stage_layers = stage_convolutions(network)
    assert stage_layers[0] == all_layers[0]
    if stages:
        assert stage_layers == stages
    assert 2 <= len(stage_layers) <= 13
    assert set(execution_order(network, all_layers, torch.rand(2, 3, 64, 64))) == set(all_layers)
