"""A folder that may not be read: those who test may be root, who may read all."""

import os
from pathlib import Path
from typing import Any

import pytest


def refuse_to_list(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Whoever lists this folder is refused from here on."""
    scandir = os.scandir

    def refuse(path: Any) -> Any:
        if Path(path) == folder:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
