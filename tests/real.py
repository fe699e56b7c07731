"""Real tissue for development, in the folder `MFL_REAL_DATA`, which is not in the repository."""

import os
from pathlib import Path

import pytest


def real(name: str) -> Path:
    """Return a path in that folder; skip the test with a reason if the path is missing."""
    folder = os.environ.get("MFL_REAL_DATA")
    if not folder:
        pytest.skip(f"needs real tissue: MFL_REAL_DATA names no folder that holds {name}")
    path = Path(folder) / name
    if not path.exists():
        pytest.skip(f"needs real tissue: {path} is not there")
    return path
