"""Tables in the documentation are what the figures say."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.tables import pages, quality, research, sources


@pytest.fixture
def copied_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The figures in a folder where they may be changed."""
    folder = tmp_path / "results"
    shutil.copytree(sources.RESULTS, folder)
    monkeypatch.setattr(sources, "RESULTS", folder)
    monkeypatch.setattr(pages, "STAMPS", folder / "stamps.json")
    sources.results.cache_clear()
    yield folder
    sources.results.cache_clear()


def test_pages_are_up_to_date() -> None:
    assert pages.out_of_date() == [], "run python -m bench.tables"


def test_every_table_is_shown_somewhere() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in pages.pages())
    assert set(sources.TABLES) - set(re.findall(r"<!-- table ([\w-]+) -->", text)) == set()


def test_a_table_has_its_figures_and_their_origin() -> None:
    shown = pages.rendered("quality-speech")
    rows = json.loads((sources.RESULTS / quality.SPEECH).read_text(encoding="utf-8"))["summaries"]
    row = next(row for row in rows if row["system"] == "streamcodec" and row["payload_kbps"] > 5)
    assert f"| streamcodec, 20 ms | {row['payload_kbps']:.2f} | {row['scores']['pesq']['mean']:.2f} ±" in shown
    assert re.search(r"`bench/results/\S+\.json`, commit [0-9a-f]{7}, \d{4}-\d\d-\d\d</small>\n$", shown)


def test_changed_figures_make_a_page_stale(copied_results: Path) -> None:
    page = "<!-- table loss -->\n<!-- end -->\n"
    path = copied_results / "loss_dev.json"
    before = pages.with_tables(page)
    assert pages.with_tables(before) == before
    figures = json.loads(path.read_text(encoding="utf-8"))
    figures["rows"][0]["pesq"]["mean"] = 1.11
    path.write_text(json.dumps(figures), encoding="utf-8")
    sources.results.cache_clear()
    with pytest.raises(research.TableError, match=r"loss_dev\.json has changed: run python -m bench\.tables"):
        pages.with_tables(before)
    stamps = json.loads((copied_results / "stamps.json").read_text(encoding="utf-8"))
    stamps[sources.digest("loss_dev.json")] = {"commit": "abcdef0", "date": "2026-01-31"}
    (copied_results / "stamps.json").write_text(json.dumps(stamps), encoding="utf-8")
    after = pages.with_tables(before)
    assert "1.11 (" in after
    assert "commit abcdef0, 2026-01-31" in after


def test_a_published_system_s_claims_are_answered_by_its_figures_with_seed_and_time(copied_results: Path) -> None:
    files = [copied_results / "research" / f"deep-autoencoder{part}.json" for part in ("", "-timings")]
    figures, timings = (json.loads(path.read_text(encoding="utf-8")) for path in files)
    counted = next(each for each in figures["tables"] if each["title"] == research.COUNTED)["rows"]
    last = next(row for name, row in counted.items() if name.endswith("60 latents, in the end"))
    last["MSE"], figures["seed"], timings["training_minutes"] = 0.000123, 77, 61.4
    for path, content in zip(files, (figures, timings), strict=True):
        path.write_text(json.dumps(content), encoding="utf-8")
    sources.results.cache_clear()
    stamps = json.loads(pages.STAMPS.read_text(encoding="utf-8"))
    stamps[sources.digest("research/deep-autoencoder.json")] = {"commit": "abcdef0", "date": "2026-01-31"}
    pages.STAMPS.write_text(json.dumps(stamps), encoding="utf-8")
    shown = pages.rendered("published-deep-autoencoder")
    assert " and 0.000123, an SNR of " in shown
    assert "commit abcdef0, 2026-01-31, seed 77, trained for 61 minutes</small>" in shown


def test_an_unknown_table_is_an_error() -> None:
    with pytest.raises(research.TableError, match="there is no table 'nothing'"):
        pages.with_tables("<!-- table nothing -->\n<!-- end -->")


def test_figures_in_the_readme_s_sentences_are_the_tables() -> None:
    speech = json.loads((sources.RESULTS / "quality_dev_speech.json").read_text(encoding="utf-8"))
    now = next(r for r in speech["summaries"] if (r["system"], r["nominal_kbps"]) == ("streamcodec", 6))
    clips = next(note for note in speech["notes"] if "Distill-MOS" in note)
    rows = json.loads((sources.RESULTS / "naturalness_24_voices.json").read_text(encoding="utf-8"))["rows"]
    found = {(row["codec"], row["kbps"]): f"{row['distill_mos']:.1f}" for row in rows}
    sentence = re.sub(r"\s+", " ", (sources.ROOT / "README.md").read_text(encoding="utf-8"))
    own, lyra = found["streamcodec", 6.0], found["Lyra v2", 6.0]
    nolace = [found["Opus + NoLACE", kbps] for kbps in (6.1, 8.8)]
    natural = now["scores"]["distill_mos"]["mean"]
    assert f"gives {natural:.1f} at 6 kbps on these clips, " in sentence
    untouched = re.search(r"Distill-MOS (\d\.\d\d)", clips)
    assert untouched is not None
    assert f"{float(untouched[1]):.1f} to the clips themselves" in sentence
    assert f"the decoder before this one had {own}, Lyra v2 {lyra} at the same rate" in sentence
    assert f"Opus with NoLACE {nolace[0]} at 6.1 and {nolace[1]} at 8.8" in sentence
