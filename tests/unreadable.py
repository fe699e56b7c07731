"""Simulate a folder without read permission, also if root runs the tests."""

import os
from pathlib import Path
from typing import Any

import pytest


def refuse_to_list(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Raise `PermissionError` from now on if this folder is listed."""
    scandir = os.scandir

    def refuse(path: Any) -> Any:
        if Path(path) == folder:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
