"""Sources and nuclei formats from outside the package are used as the package's own."""

from pathlib import Path

import numpy as np

from morefromless.data.nuclei import ARRAY
from morefromless.data.store import Store
from morefromless.ingest import ingest, open_source
from tests.outside.data import Stripes

HERE = "tests.outside.data"


def test_a_source_and_a_nuclei_format_make_a_store(tmp_path: Path) -> None:
    files = tmp_path / "nuclei"
    files.mkdir()
    for item in Stripes().items():
        (files / f"{item.id}.corners").write_text("1\n2\n")
    source = open_source(f"{HERE}:Stripes", nuclei=files, nuclei_format=f"{HERE}:Corners")
    ingest(source, tmp_path / "store", progress=False, workers=1)
    store = Store.open(tmp_path / "store")
    assert store.classes == ("dark", "light")
    assert len(store.indices("train")) + len(store.indices("test")) == 40
    assert not set(store.groups("train")) & set(store.groups("test"))  # type: ignore[arg-type]
    assert (store.array(ARRAY)[:, 0, 0, 0] == 1).all()
    assert (store.array(ARRAY)[:, 0, -1, 0] == 2).all()
    assert store.nuclei.groupby("patch").size().to_numpy().tolist() == [2] * 40
    assert np.asarray(store.array("he")).shape == (40, 16, 16, 3)
