"""The valid files of the fuzz are read; otherwise their mutants test nothing."""

from pathlib import Path

import pytest

from morefromless.errors import UnreadablePatch
from tests.readers import READERS


@pytest.mark.parametrize("name", READERS)
def test_valid_files_are_read(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    for path in READERS[name].write(folder):
        try:
            READERS[name].read(folder, path)
        except UnreadablePatch:
            if name != "nuclei":  # these files are also given to other formats with their ending
                raise
