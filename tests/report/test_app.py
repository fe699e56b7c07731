"""The page of `mfl app`: what it shows for a patch in a browser, and what it rejects."""

import base64
import io
import socket
import struct
import threading
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image
from selenium.webdriver import Chrome
from werkzeug.serving import BaseWSGIServer
from werkzeug.test import Client

from morefromless import app, cli
from morefromless.analysis.inspection import Inspector
from morefromless.app import Application, open_server
from morefromless.config import AppConfig, Probe
from morefromless.data.store import Store
from morefromless.errors import ConfigError
from morefromless.evaluation.calibration import calibrate
from morefromless.evaluation.loading import load_encoder
from morefromless.training.pretrain import pretrain
from tests.conftest import run_config
from tests.report.test_explain_browser import Page, log, unnamed_elements
from tests.report.test_report_browser import PHONE

pytestmark = pytest.mark.xdist_group("browser")  # share a slow fixture


@pytest.fixture(scope="module")
def config(tissue: Store, tmp_path_factory: pytest.TempPathFactory) -> AppConfig:
    out = tmp_path_factory.mktemp("app") / "run"
    pretrain(run_config(tissue.path, out, primary="downsample:4"))
    return AppConfig(encoder=str(out), port=0, device="cpu")


@pytest.fixture(scope="module")
def server(config: AppConfig) -> Iterator[BaseWSGIServer]:
    app_server = open_server(config)
    thread = threading.Thread(target=app_server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield app_server
    app_server.shutdown()
    thread.join()


@pytest.fixture
def client(server: BaseWSGIServer) -> Client:
    return Client(server.app)


@pytest.fixture(scope="module")
def patch(tissue: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training patch, which is its own nearest neighbour."""
    path = tmp_path_factory.mktemp("patch") / "a patch.png"
    row = tissue.indices("train")[3]
    Image.fromarray(np.asarray(tissue.array("he")[row])).save(path)
    return path


def encode(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def pixels(url: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))))


def test_answer_matches_the_encoder_and_its_probe(
    client: Client, config: AppConfig, tissue: Store, patch: Path
) -> None:
    answer = client.post("/inspect", data=patch.read_bytes()).get_json()
    frozen = load_encoder(config.encoder)
    row = tissue.indices("train")[3]
    probe = calibrate(frozen, tissue, Probe(), "tissue")
    features = frozen.represent(tissue, np.array([row]))
    (expected,) = probe.probabilities(features)
    probabilities = dict(answer["probabilities"])
    np.testing.assert_allclose(
        [probabilities[name] for name in tissue.classes], expected, atol=1e-4
    )
    assert list(probabilities.values()) == sorted(probabilities.values(), reverse=True)
    assert answer["outlier"] == pytest.approx(float(probe.outlier_percentile(features)), abs=5)
    nearest = answer["neighbours"][0]
    assert nearest["id"] == tissue.table["id"].iloc[row]
    assert nearest["label"] == tissue.classes[tissue.labels[row]]
    assert nearest["distance"] < 1e-2
    enlarged = np.asarray(tissue.array("he")[row]).repeat(7, 0).repeat(7, 1)
    np.testing.assert_array_equal(pixels(nearest["picture"]), enlarged)
    shown_input = pixels(answer["pictures"]["input"])
    expected_input = (255 * frozen.render(tissue, np.array([row]))[0]).round()
    np.testing.assert_array_equal(shown_input[::7, ::7], expected_input.permute(1, 2, 0))
    assert pixels(answer["pictures"]["gradcam"]).shape == (224, 224, 3)
    assert answer["remarks"] == []


def test_unusable_file_is_refused_in_one_sentence(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)
    image = Image.fromarray(noise)
    parts = (b"IHDR" + struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0), b"IDAT")
    chunks = [struct.pack(">I", len(p) - 4) + p + struct.pack(">I", zlib.crc32(p)) for p in parts]
    for content, reason in {
        b"": "empty file",
        b"no image": "not a png, jpg, tif, bmp or webp image",
        encode(image)[:300]: "truncated or damaged",
        b"\x89PNG\r\n\x1a\n" + b"".join(chunks): "cut it into patches",
        encode(Image.new("RGB", (4096, 2048))): "4,096 x 2,048 px is too large for a patch",
        encode(Image.fromarray(noise[..., 0])): "grey image",
        encode(Image.fromarray(noise[..., 0].astype(np.uint16))): "16-bit image",
        encode(image.convert("CMYK"), "JPEG"): "mode CMYK",
        encode(image, save_all=True, append_images=[image]): "several pages or frames",
        encode(image.crop((0, 0, 32, 16))): "not square",
    }.items():
        response = client.post("/inspect", data=content)
        assert response.status_code == 422, reason
        error = response.get_json()["error"]
        assert reason in error
        assert error.count(". ") == 0
    large = client.post("/inspect", data=encode(image.resize((48, 48))))
    assert "trained on 32 px" in large.get_json()["remarks"][0]
    monkeypatch.setattr(app.LocalRequest, "max_content_length", 1000)
    response = client.post("/inspect", data=encode(image))
    assert (response.status_code, response.get_json()) == (413, {"error": app.TOO_LARGE_MESSAGE})


def test_other_hosts_and_addresses_are_refused(client: Client) -> None:
    assert client.get("/", base_url="http://localhost:8765").status_code == 200
    assert client.get("/", base_url="http://rebound.example:8765").status_code == 400
    assert client.get("/inspect").status_code == 404
    assert client.get("/../run.json").status_code == 404


def test_server_is_local_and_names_a_port_in_use(
    server: BaseWSGIServer, config: AppConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    assert server.socket.getsockname()[0] == "127.0.0.1"
    with socket.create_server(("127.0.0.1", 0)) as occupied:
        port = str(occupied.getsockname()[1])
        arguments = ["app", config.encoder, "--port", port]
        assert cli.run(arguments) == 2
    assert f"Port {port} cannot be used (Address already in use)" in capsys.readouterr().err


def test_encoder_without_its_store_shows_no_neighbours(
    config: AppConfig, server: BaseWSGIServer, patch: Path, tmp_path: Path
) -> None:
    del server  # the fixture has calibrated the probe
    exported = tmp_path / "encoder"
    assert cli.run(["export", config.encoder, str(exported)]) == 0
    exported_server = open_server(AppConfig(encoder=str(exported), port=0))
    exported_server.server_close()
    assert isinstance(exported_server.app, Application)
    client = Client(exported_server.app)
    assert "start with <code>--store FOLDER</code>" in client.get("/").text
    assert client.post("/inspect", data=patch.read_bytes()).get_json()["neighbours"] == []
    mask_encoder = replace(load_encoder(exported), modality_spec="nuclei")
    with pytest.raises(ConfigError, match="takes nuclei, but an image file contains RGB"):
        Inspector(mask_encoder, exported_server.app.inspector.probe)


DROP = """
const carried = new DataTransfer();
carried.items.add(new File([arguments[0].repeat(arguments[1])], 'dropped.png'));
const drop = document.getElementById('drop');
drop.dispatchEvent(new DragEvent('drop', { dataTransfer: carried, bubbles: true }));
"""
"""Drop a file that contains a text, repeated this many times."""


@pytest.mark.parametrize("width", [390, 1400])
def test_in_a_browser(
    browser: Chrome, server: BaseWSGIServer, patch: Path, tissue: Store, width: int
) -> None:
    size = PHONE if width == 390 else {"width": width, "height": 1000, "deviceScaleFactor": 1}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"mobile": False, **size})
    page = Page(browser, f"http://127.0.0.1:{server.port}/")
    try:
        page.run(DROP, "no image", 1)
        page.wait(lambda: "not a png" in page.status)
        page.run(DROP, "x" * 2**20, 17)
        page.wait(lambda: page.status == app.TOO_LARGE_MESSAGE)
        assert not page.find("#result").is_displayed()
        page.find("#file").send_keys(str(patch))
        page.wait(lambda: page.status == patch.name)
        loaded = page.run("return [...document.images].map((i) => i.complete && i.naturalWidth)")
        assert len(loaded) == 3 + 6
        assert min(loaded) >= 32
        assert len(page.find_all("#probabilities tr")) == len(tissue.classes)
        label = tissue.classes[tissue.labels[tissue.indices("train")[3]]]
        assert page.texts("#neighbours strong")[0] == label
        assert "are nearer to the other training patches" in page.find("#unusual").text
        assert page.run("return document.documentElement.scrollWidth <= innerWidth")
        assert unnamed_elements(page.find("body")) == []
        errors = [entry["message"] for entry in log(browser, "browser")]
        assert all("422" in message for message in errors)  # the browser logs the rejection too
        hosts = {urlsplit(a).hostname for a in page.requested() if not a.startswith("data:")}
        assert hosts == {"127.0.0.1"}
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
