"""What cannot be decoded is refused in a sentence, never played as noise."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from streamcodec import FileFormatError, Tier, decode_file, encode_file
from streamcodec.cli import main
from streamcodec.codec.bitstream import bitstream_of, bitstreams_read
from streamcodec.codec.files.container import MAGIC
from streamcodec.codec.files.container_reader import FileReader
from streamcodec.codec.options import tier_name
from streamcodec.codec.packet import MAX_FRAMES
from streamcodec.models.shipped import load_model


def with_bitstream(coded: Path, word: str | None) -> None:
    """The same file, of another bitstream; None: from before there were any."""
    import binascii

    data = coded.read_bytes()
    length = int.from_bytes(data[4:8], "big")
    fields = json.loads(data[8 : 8 + length])
    del fields["bitstream"]
    header = json.dumps(fields if word is None else fields | {"bitstream": word}).encode()
    checked = len(header).to_bytes(4, "big") + header + binascii.crc32(header).to_bytes(4, "big")
    coded.write_bytes(MAGIC + checked + data[12 + length :])


@pytest.mark.parametrize("tier", list(Tier))
def test_files_name_their_bitstream_and_others_are_refused(tier: Tier, tmp_path: Path, speech_file: Path) -> None:
    coded = tmp_path / "talk.sc"
    encode_file(speech_file, coded, tier=tier)
    with coded.open("rb") as file:
        word = FileReader(file).header.bitstream
    assert word == bitstream_of(tier, frames=MAX_FRAMES)
    assert word.startswith(tier_name(tier))
    assert decode_file(coded, tmp_path / "back.wav") > 0
    for other in (word + "0", None):
        with_bitstream(coded, other)
        with pytest.raises(FileFormatError, match=f"this build reads {bitstream_of(tier)}:"):
            decode_file(coded, tmp_path / "noise.wav")
    assert not (tmp_path / "noise.wav").exists()


def test_info_tells_of_a_file_that_cannot_be_decoded(
    tmp_path: Path, speech_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    coded = tmp_path / "talk.sc"
    encode_file(speech_file, coded)
    with_bitstream(coded, "neural-9-00000000")
    assert main(["info", str(coded)]) == 0
    assert json.loads(capsys.readouterr().out)["bitstream"] == "neural-9-00000000"
    assert main(["decode", str(coded), str(tmp_path / "noise.wav")]) == 2
    assert "coded as neural-9-00000000" in capsys.readouterr().err


def test_fingerprint_follows_what_payloads_depend_on() -> None:
    model = load_model()
    tables = dict(model.entropy)
    name, table = next((n, t) for n, t in tables.items() if t.size)
    changed = np.array(table)
    changed.flat[0] += 1
    assert replace(model, entropy={**tables, name: changed}).fingerprint != model.fingerprint
    assert replace(model, config=replace(model.config, qualities=15)).fingerprint != model.fingerprint
    assert replace(model, folder=Path("another")).fingerprint == model.fingerprint
    assert bitstreams_read() == {bitstream_of(tier) for tier in Tier} | {bitstream_of(Tier.NEAR_LOSSLESS, frames=6)}
    assert len(bitstreams_read()) == 4


def test_the_shipped_fingerprint_is_what_files_and_calls_carry() -> None:
    """A literal, so that renamed fields or stored forms cannot turn files in the world into foreign ones."""
    assert load_model().fingerprint == "3202ebc1"
