"""Real tissue for development, which is not in the repository: the folder `MFL_REAL_DATA` names."""

import os
from pathlib import Path

import pytest


def real(name: str) -> Path:
    """A file or folder in it; the test is skipped, with the reason, where it is not there."""
    folder = os.environ.get("MFL_REAL_DATA")
    if not folder:
        pytest.skip(f"needs real tissue: MFL_REAL_DATA names no folder that holds {name}")
    path = Path(folder) / name
    if not path.exists():
        pytest.skip(f"needs real tissue: {path} is not there")
    return path
