"""Type schemes: numbers, names, mappings in files, and unknown types."""

from pathlib import Path

import pytest

from morefromless.data.schemes import CONSEP_SEVEN, PANNUKE, SCHEMES, Scheme, load_scheme
from morefromless.errors import ConfigError, UnreadablePatch


@pytest.mark.parametrize("raw", ["Neoplastic", "neoplastic cells", "NEOPLASTIC", 1, "1"])
def test_a_type_is_known_by_number_and_by_name(raw: int | str) -> None:
    assert PANNUKE.code(raw) == 1


def test_seven_types_of_consep_become_four() -> None:
    assert [CONSEP_SEVEN.code(k) for k in range(8)] == [0, 1, 2, 3, 3, 4, 4, 4]


@pytest.mark.parametrize("raw", [6, -1, "6", "Plasma", "", "²"])
def test_unknown_types_are_refused(raw: int | str) -> None:
    with pytest.raises(UnreadablePatch, match="type outside the scheme: "):
        PANNUKE.code(raw)


def test_scheme_file_maps_aliases(tmp_path: Path) -> None:
    path = tmp_path / "immune.yaml"
    path.write_text(
        "types: [Background, Tumour, Immune]\n"
        "aliases: {7: Tumour, Lymphocyte: immune, T cell: Immune}"
    )
    scheme = load_scheme(str(path))
    assert (scheme.name, scheme.types) == ("immune", ("Background", "Tumour", "Immune"))
    assert [scheme.code(raw) for raw in (0, 7, "lymphocyte", "Tumour")] == [0, 1, 2, 1]
    with pytest.raises(UnreadablePatch):
        scheme.code(1)  # the file lists its numbers, and 1 is not one of them


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("types: [Background]", "needs 2 to 256 types"),
        ("types: [Background, A, a]", "different names"),
        ("types: [Background, A]\naliases: {1: B}", "maps to 'B'"),
        ("aliases: {1: B}", "is not a scheme"),
        ("types: [Background, A]\nsays: {1: A}", "unknown key 'says'"),
        ("- a", "no list of types"),
        ("types: Background", "no list of types"),
        ("types: [Background, [A]]", "a name is not printable text"),
        ("types: [Background, A]\naliases: [A]", "aliases are not a mapping"),
        ("types: [Background, A]\naliases: {1.5: A}", "a name is not printable text"),
        ("[" * 1000, "is not a scheme"),
        ("{", "is not a scheme"),
    ],
)
def test_invalid_scheme_file_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "poor.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=reason):
        load_scheme(str(path))


def test_accents_match_in_both_unicode_forms() -> None:
    assert Scheme("a", ("Background", "N\u00e9oplasique")).code("Ne\u0301oplasique") == 1


def test_error_for_unknown_scheme_lists_schemes() -> None:
    with pytest.raises(ConfigError, match=r"neither a scheme \(pannuke, consep"):
        load_scheme("panuke")
    assert all(isinstance(scheme, Scheme) for scheme in SCHEMES.values())
