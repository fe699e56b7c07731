"""The loop of `mfl segment` with a fake network: positions, resuming, record."""

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from scipy import ndimage

from morefromless.cli import run
from morefromless.data.nuclei import NUCLEI_ARRAY, Nuclei
from morefromless.data.store import Store
from morefromless.errors import ConfigError, DataError
from morefromless.hovernet import network
from morefromless.hovernet.segment import SegmentReport, segment
from morefromless.hovernet.windows import MARGIN
from morefromless.ingest import ingest, open_source
from morefromless.ingest.opening import open_images


class Red:
    """Treats red spots as nuclei, and their green as the type; counts its inputs."""

    facts = {"network": "red", "weights": "none", "weights_sha256": "0"}  # noqa: RUF012

    def __init__(self) -> None:
        self.windows = 0

    def infer(self, windows: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.float32], ...]:
        self.windows += len(windows)
        middle = windows[:, MARGIN:-MARGIN, MARGIN:-MARGIN].astype(np.float32)
        return middle[..., :1], middle[..., 1:2]

    def nuclei(
        self, maps: tuple[npt.NDArray[np.float32], ...]
    ) -> tuple[npt.NDArray[np.int32], dict[int, int]]:
        instances, count = ndimage.label(maps[0][..., 0] > 127)
        kinds = ndimage.median(maps[1][..., 0], instances, range(1, count + 1))
        return instances.astype(np.int32), {
            number: round(kind / 40) for number, kind in enumerate(kinds, 1)
        }


@pytest.fixture
def patches(tmp_path: Path) -> Path:
    """Six patches of 200 px: patch k has k spots of 20 px, of type 1 + k % 5."""
    for k in range(6):
        image = np.zeros((200, 200, 3), np.uint8)
        for spot in range(k):
            y, x = 10 + 30 * spot, 100 - 15 * spot
            image[y : y + 20, x : x + 20] = (255, 40 * (1 + k % 5), 0)
        path = tmp_path / "images" / "AB"[k % 2] / f"p{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    return tmp_path / "images"


def run_segment(
    patches: Path, out: Path, engine: Callable[[], Any] = Red, **options: Any
) -> SegmentReport:
    return segment(open_images(str(patches)), out, engine, **({"um_per_px": 0.25} | options))


@pytest.mark.parametrize("um_per_px", [0.25, 0.5, 0.125])
def test_nuclei_keep_their_positions_at_any_magnification(
    patches: Path, tmp_path: Path, um_per_px: float
) -> None:
    report = run_segment(patches, tmp_path / "out", um_per_px=um_per_px, batch=5)
    assert (report.segmented, report.nuclei, report.too_small, report.rejected) == (6, 15, 0, 0)
    source = open_source(str(patches), nuclei=tmp_path / "out")
    ingest(source, tmp_path / "store", split="random", progress=False)
    store = Store.open(tmp_path / "store")
    for row, name in enumerate(store.table["id"]):
        k = int(Path(name).stem[1:])
        nuclei = Nuclei.decode(np.asarray(store.array(NUCLEI_ARRAY)[row]))
        assert nuclei.types.tolist() == [1 + k % 5] * k
        red = store.array("he")[row][..., 0] > 127
        differing = ((nuclei.instances > 0) != red).sum()
        assert (
            differing <= (0 if um_per_px == 0.25 else 0.1) * red.sum()
        )  # half a pixel at the rims


def test_segmentation_is_resumed(patches: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run_segment(patches, out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.geojson")}
    assert len(before) == 6
    (out / "A" / "p2.geojson").unlink()
    engine = Red()
    report = run_segment(patches, out, lambda: engine)
    assert (report.segmented, report.resumed) == (1, 5)
    assert engine.windows == 4  # the windows of one patch of 200 px

    def fail() -> Red:
        raise AssertionError("nothing is left to do")

    assert run_segment(patches, out, fail).resumed == 6
    untouched = {path: path.stat().st_mtime_ns for path in out.rglob("*.geojson")}
    assert {p: t for p, t in untouched.items() if p.name != "p2.geojson"} == {
        p: t for p, t in before.items() if p.name != "p2.geojson"
    }


def test_settings_are_recorded_and_must_match(patches: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run_segment(patches, out)
    record = json.loads((out / "segmentation.json").read_text())
    assert record["um_per_px"] == record["at"] == 0.25
    assert record["network"] == "red"
    assert record["scheme"]["name"] == "pannuke"
    with pytest.raises(DataError, match=r"another segmentation \(um_per_px 0.25, not 0.5\)"):
        run_segment(patches, out, um_per_px=0.5)
    (out / "A" / "p2.geojson").unlink()
    other_weights = Red()
    other_weights.facts = Red.facts | {"weights_sha256": "1"}
    with pytest.raises(DataError, match="weights_sha256 0, not 1"):
        run_segment(patches, out, lambda: other_weights)
    for text in ("[]", "{", "[" * 99_999):
        (out / "segmentation.json").write_text(text)
        with pytest.raises(DataError, match=r"segmentation.json is damaged"):
            run_segment(patches, out)
    (out / "segmentation.json").unlink()
    with pytest.raises(DataError, match="the network is unknown"):
        run_segment(patches, out)


def test_unreadable_images_are_rejected(patches: Path, tmp_path: Path) -> None:
    (patches / "A" / "p9.png").write_text("no image")
    report = run_segment(patches, tmp_path / "out")
    assert (report.segmented, report.rejected) == (6, 1)
    assert 'A/p9.png,"unreadable' in (tmp_path / "out" / "rejected.csv").read_text()
    assert "1 rejected" in str(report)


def test_the_magnification_must_be_known(patches: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="give it with --um-per-px"):
        run_segment(patches, tmp_path / "out", um_per_px=None)
    with pytest.raises(ConfigError, match="must be greater than 0"):
        run_segment(patches, tmp_path / "out", at=0)


def test_error_without_the_extra_says_how_to_install_it(
    patches: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import_module = importlib.import_module

    def missing(name: str, package: str | None = None) -> Any:
        if name.startswith("tiatoolbox"):
            raise ImportError(name)
        return import_module(name, package)

    monkeypatch.setattr(network.importlib, "import_module", missing)
    arguments = ["segment", str(patches), str(tmp_path / "out"), "--um-per-px", "0.5"]
    assert run(arguments) == 2
    message = capsys.readouterr().err
    assert "pip install 'morefromless[nuclei]'" in message
    assert message.count("\n") == 1
    assert not list((tmp_path / "out").rglob("*.geojson"))
