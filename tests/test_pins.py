"""The pinned dependencies (`constraints.txt`) install wherever the README says."""

from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

from packaging.specifiers import SpecifierSet

PINS = Path(__file__).parents[1] / "constraints.txt"
LEAST = "3.11.0"


def test_every_pin_is_for_the_oldest_python_too() -> None:
    """Debian's 3.11 is 3.11.2, for which a package that asks for 3.11.5 is none."""
    assert SpecifierSet(metadata("morefromless")["Requires-Python"]).contains(LEAST)
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
            asked = installed.get("Requires-Python", "")
            if not SpecifierSet(asked).contains(LEAST):
                newer[name] = asked
    assert compared > 50
    assert newer == {}
