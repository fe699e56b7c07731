"""Fonts of figures: names are drawn literally, in any script."""

from functools import cache

from matplotlib import rcParams
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font
from matplotlib.text import Text

from morefromless import progress
from morefromless.errors import first_few

_reported: set[str] = set()


def set_fonts(figure: Figure) -> None:
    """Draw every text of a figure literally: `$` starts no formula, and characters missing from the
    default font come from any installed font that has them.

    Characters that no font has are drawn as boxes, and named in the terminal once per process.
    """
    texts = figure.findobj(Text)
    characters = {c for text in texts for c in text.get_text() if c.isprintable() and c != " "}
    families, missing = _families("".join(sorted(characters)))
    for text in texts:
        text.set_parse_math(False)
        if len(families) > 1:
            text.set_fontfamily(families)
    new = sorted(missing - _reported)
    _reported.update(new)
    if new:
        progress.warn(
            f"- No installed font has the characters {first_few(new, 20, ' ')}, so figures show "
            "boxes instead; install a font that has them, such as Noto Sans (Debian: "
            "fonts-noto-cjk, fonts-noto-core)."
        )


@cache
def _families(characters: str) -> tuple[list[str], set[str]]:
    """Names of fonts with these characters, the default first; and characters that none has."""
    families = list(rcParams["font.family"])
    missing = {c for c in characters if ord(c) not in _characters(findfont(FontProperties()))}
    # Last Resort has a box for every character. Fonts are sorted (regular upright ones first, then
    # by name), so that a machine draws the same figure each time.
    fonts = sorted(
        (font for font in fontManager.ttflist if "Last Resort" not in font.name),
        key=lambda f: (f.style != "normal", f.weight != 400, f.name, f.fname),
    )
    for font in fonts if missing else []:
        covered = {c for c in missing if ord(c) in _characters(font.fname)}
        if covered:
            families.append(font.name)
            missing -= covered
        if not missing:
            break
    return families, missing


@cache
def _characters(path: str) -> frozenset[int]:
    return frozenset(get_font(path).get_charmap())
