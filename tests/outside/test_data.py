"""Sources and nuclei formats from outside the package are used as the package's own."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from morefromless.data.nuclei import NUCLEI_ARRAY
from morefromless.data.store import Store
from morefromless.errors import ConfigError, DataError
from morefromless.ingest import ingest, open_source
from morefromless.sources import Item
from tests.outside.data import Stripes

HERE = "tests.outside.data"


def test_source_and_nuclei_format_create_a_store(tmp_path: Path) -> None:
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
    assert (store.array(NUCLEI_ARRAY)[:, 0, 0, 0] == 1).all()
    assert (store.array(NUCLEI_ARRAY)[:, 0, -1, 0] == 2).all()
    assert store.nuclei.groupby("patch").size().to_numpy().tolist() == [2] * 40
    assert np.asarray(store.array("he")).shape == (40, 16, 16, 3)


@pytest.mark.parametrize("given", [np.zeros(3), [0.0], np.zeros((8, 8)), np.zeros((8, 8, 3))])
def test_invalid_arrays_of_a_source_are_refused(tmp_path: Path, given: Any) -> None:
    class Wrong(Stripes):
        def read(self, item: Item) -> dict[str, Any]:
            return super().read(item) | {"extra": given}

    with pytest.raises(ConfigError, match=r"Wrong.read returns 'extra' as .* it must return NumPy"):
        ingest(Wrong(), tmp_path / "store", progress=False)


def test_source_may_yield_items_and_splits_are_checked(tmp_path: Path) -> None:
    class Yielding(Stripes):
        def items(self) -> Any:
            yield from super().items()

    assert len(ingest(Yielding(), tmp_path / "store", progress=False).store.table) == 40
    with pytest.raises(DataError, match="'row 1' is in an unknown split 'training'; use train"):
        Item("1", "a", "row 1", split="training")  # type: ignore[arg-type]
