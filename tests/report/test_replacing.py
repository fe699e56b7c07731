"""The note of `mfl compare` if its folder holds another comparison."""

from pathlib import Path

from morefromless.report.replacing import replacement_note
from tests.conftest import changed
from tests.report.handmade import results


def test_changed_options_are_named(tmp_path: Path) -> None:
    earlier = results()
    earlier.save(tmp_path)
    unchanged, store_hash = changed(earlier.config, out=tmp_path), earlier.data.hash
    assert replacement_note(unchanged, store_hash) is None
    irrelevant_changes = changed(
        unchanged, device="cpu", jobs=7, workers=3, runs="other", store="moved"
    )
    assert replacement_note(irrelevant_changes, store_hash) is None
    relevant_changes = changed(unchanged, seeds=9, trident=True, privileged_encoder="mlp")
    assert replacement_note(relevant_changes, store_hash) == (
        f"{tmp_path} holds a comparison with other options: --seeds was {unchanged.seeds}, is 9; "
        "--trident was off, is on; --privileged-encoder was not given, is mlp. Its tables and its "
        "page will be replaced; its runs are kept."
    )
    assert "the store had other patches" in str(replacement_note(unchanged, "another"))


def test_missing_or_damaged_comparison_needs_no_note(tmp_path: Path) -> None:
    config = changed(results().config, out=tmp_path)
    assert replacement_note(config, "") is None
    (tmp_path / "results.json").write_text("{")
    assert replacement_note(config, "") is None
