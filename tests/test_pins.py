"""The pinned dependencies (`constraints.txt`) install on every Python that the README names."""

from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

from packaging.specifiers import SpecifierSet

PINS = Path(__file__).parents[1] / "constraints.txt"
OLDEST_PYTHON = "3.11.0"


def test_pins_support_the_oldest_python() -> None:
    """Debian has Python 3.11.2, so a package that needs 3.11.5 does not install there."""
    assert SpecifierSet(metadata("morefromless")["Requires-Python"]).contains(OLDEST_PYTHON)
    lines = PINS.read_text().splitlines()
    pinned = dict(line.split("==") for line in lines if not line.startswith("#"))
    compared, newer = 0, {}
    for name, version in pinned.items():
        try:
            installed = metadata(name)
        except PackageNotFoundError:  # of another system
            continue
        if installed["Version"] == version:
            compared += 1
            required = installed.get("Requires-Python", "")
            if not SpecifierSet(required).contains(OLDEST_PYTHON):
                newer[name] = required
    assert compared > 50
    assert newer == {}
