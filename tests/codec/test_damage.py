"""Files that were cut off, damaged or hold what is no sound: used as far as they go, and told in one sentence."""

from __future__ import annotations

import io
import itertools
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile

from streamcodec import AudioFormatError, FileFormatError, StreamcodecWarning, decode_file, encode_array, encode_file
from streamcodec.cli import main
from streamcodec.cli.info_command import describe
from streamcodec.codec.audio_format import as_mono
from streamcodec.codec.files.container import CLUSTER_MARK, INDEX_MARK
from streamcodec.codec.files.container_reader import FileReader
from streamcodec.codec.files.damage import describe_damage
from streamcodec.codec.files.sound_file import SoundReader
from streamcodec.codec.packet import Tier
from tests.helpers.damage import told, without

RATE_HZ = 24_000
SECONDS = 4


def tone(seconds: float = SECONDS) -> np.ndarray:
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    return (0.3 * np.sin(2 * np.pi * 220 * time_s)).astype(np.float32)


@pytest.fixture(scope="module")
def coded(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Four seconds, lossless, a cluster each second."""
    folder = tmp_path_factory.mktemp("coded")
    soundfile.write(folder / "tone.wav", tone(), RATE_HZ, subtype="PCM_16")
    encode_file(folder / "tone.wav", folder / "tone.sc", tier="lossless", key_period_s=1.0)
    return (folder / "tone.sc").read_bytes()


def decoded(data: bytes, folder: Path) -> tuple[list[str], int]:
    """What is told of a coded file as it is decoded, and how many samples come out."""
    (folder / "it.sc").write_bytes(data)
    said = told(lambda: decode_file(folder / "it.sc", folder / "it.wav"))
    return said, soundfile.info(folder / "it.wav").frames


def test_a_whole_file_is_decoded_without_a_word(coded: bytes, tmp_path: Path) -> None:
    assert decoded(coded, tmp_path) == ([], SECONDS * RATE_HZ)


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.95])
def test_a_file_that_was_cut_off_says_where_it_ends(coded: bytes, tmp_path: Path, kept: float) -> None:
    said, samples = decoded(coded[: int(kept * len(coded))], tmp_path)
    assert 0 < samples < SECONDS * RATE_HZ
    assert len(said) == 1
    assert f"it.sc ends after {samples / RATE_HZ:.2f} s without its index: it was cut off" in said[0]


@pytest.mark.parametrize("cluster", [0, 1, 3])
def test_a_damaged_cluster_is_told_with_the_seconds_that_are_missing(
    coded: bytes, tmp_path: Path, cluster: int
) -> None:
    at = -1
    for _ in range(cluster + 1):
        at = coded.index(CLUSTER_MARK, at + 1)
    broken = bytearray(coded)
    broken[at + 40] ^= 0xFF
    said, samples = decoded(bytes(broken), tmp_path)
    assert samples == SECONDS * RATE_HZ
    assert len(said) == 1
    assert "it.sc is damaged: 1.00 s of sound are missing and were concealed" in said[0]


@pytest.mark.parametrize(("clusters", "says"), [((1,), "is damaged"), ((1, 2), "is damaged"), ((3,), "is damaged")])
def test_clusters_of_which_no_byte_is_left_are_told_as_missing(
    coded: bytes, tmp_path: Path, clusters: tuple[int, ...], says: str
) -> None:
    said, _ = decoded(without(coded, *clusters), tmp_path)
    assert len(said) == 1
    assert "index" not in said[0]
    told_s = sum(float(number) for number in re.findall(r"(\d\.\d\d) s of sound", said[0]))
    assert told_s == pytest.approx(len(clusters), abs=0.1)
    assert says in said[0]


def test_a_file_without_its_first_cluster_lacks_it_and_no_silence_is_made_up(coded: bytes, tmp_path: Path) -> None:
    said, samples = decoded(without(coded, 0), tmp_path)
    assert [sentence.partition("it.sc ")[2] for sentence in said] == ["lacks 1.00 s of sound, which are left out"]
    assert samples == (SECONDS - 1) * RATE_HZ


def test_missing_clusters_are_told_where_the_index_is_missing_too(coded: bytes, tmp_path: Path) -> None:
    data = without(coded, 2)
    said, _ = decoded(data[: data.index(INDEX_MARK)], tmp_path)
    assert len(said) == 1
    assert "ends after 4.00 s without its index" in said[0]
    assert "1.00 s of sound are missing and were concealed" in said[0]


@pytest.mark.parametrize("bitrate_bps", [6_000, 1_500])
@pytest.mark.parametrize("dtx", [False, True])
def test_a_missing_cluster_of_speech_is_told_but_no_pause(
    speech_file: Path, tmp_path: Path, bitrate_bps: int, dtx: bool
) -> None:
    speech, rate_hz = soundfile.read(speech_file, dtype="float32")
    speech = speech[: 2 * rate_hz]
    pause = np.zeros(3 * rate_hz, np.float32)
    soundfile.write(tmp_path / "talk.wav", np.concatenate([speech, pause, speech, pause]), rate_hz)
    encode_file(tmp_path / "talk.wav", tmp_path / "talk.sc", bitrate_bps, dtx=dtx, key_period_s=1.0)
    data = (tmp_path / "talk.sc").read_bytes()
    assert decoded(data, tmp_path)[0] == []
    said, _ = decoded(without(data, 1), tmp_path)
    assert len(said) == 1
    assert "of sound are missing and were concealed" in said[0]


@pytest.mark.parametrize("kept", ["header", "a byte more", "header and index"])
def test_a_file_of_which_no_packet_can_be_read_is_an_error(coded: bytes, tmp_path: Path, kept: str) -> None:
    mark = coded.index(CLUSTER_MARK)
    data = {
        "header": coded[:mark],
        "a byte more": coded[: mark + 1],
        "header and index": without(coded, 0, 1, 2, 3),
    }[kept]
    with pytest.raises(FileFormatError, match=r"it\.sc holds no packet that can be read"):
        decoded(data, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["it.sc"]
    assert main(["decode", str(tmp_path / "it.sc"), str(tmp_path / "it.flac")]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["it.sc"]


def test_info_tells_what_is_missing(coded: bytes, tmp_path: Path) -> None:
    whole, cut = describe(io.BytesIO(coded)), io.BytesIO(without(coded, 1))
    assert (whole["complete"], whole["missing_s"]) == (True, 0)
    with pytest.warns(StreamcodecWarning, match=r"is damaged: \d\.\d\d s of sound are missing"):
        figures = describe(cut, tell=True)
    assert not figures["complete"]
    assert figures["missing_s"] == 1


def test_silence_that_was_not_sent_is_no_damage(fixtures: Path, tmp_path: Path) -> None:
    sound = np.concatenate([tone(0.5), np.zeros(4 * RATE_HZ, np.float32), tone(0.5)])
    soundfile.write(tmp_path / "pause.wav", sound, RATE_HZ)
    encode_file(tmp_path / "pause.wav", tmp_path / "pause.sc", 6_000, dtx=True)
    reader = FileReader(io.BytesIO((tmp_path / "pause.sc").read_bytes()))
    times = [packet.time for packet in reader.packets()]
    assert max(later - earlier for earlier, later in itertools.pairwise(times)) > 5
    assert describe_damage("it", reader, reader.damaged_frames) is None
    assert told(lambda: decode_file(tmp_path / "pause.sc", tmp_path / "heard.wav")) == []


def test_a_file_of_no_sound_is_told_as_one_and_decodes_to_one(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "nothing.wav", np.zeros(0, np.int16), RATE_HZ)
    said = told(lambda: encode_file(tmp_path / "nothing.wav", tmp_path / "nothing.sc", tier="lossless"))
    assert [sentence.partition("nothing.")[2] for sentence in said] == ["wav holds no sound"]
    said = told(lambda: decode_file(tmp_path / "nothing.sc", tmp_path / "back.wav"))
    assert [sentence.partition("nothing.")[2] for sentence in said] == ["sc holds no sound"]
    assert soundfile.info(tmp_path / "back.wav").frames == 0
    with pytest.raises(FileFormatError, match="no FLAC without any"):
        told(lambda: decode_file(tmp_path / "nothing.sc", tmp_path / "back.flac"))
    assert not (tmp_path / "back.flac").exists()


@pytest.mark.parametrize("form", ["FLAC", "WAV", "AIFF", "CAF", "OGG", "MP3"])
def test_sound_files_that_were_cut_off_are_read_as_far_as_they_go(form: str, tmp_path: Path) -> None:
    """Every format alike."""
    whole = io.BytesIO()
    rng = np.random.default_rng(2)
    soundfile.write(whole, tone() + 0.01 * rng.standard_normal(SECONDS * RATE_HZ), RATE_HZ, format=form)
    (tmp_path / "cut").write_bytes(whole.getvalue()[: len(whole.getvalue()) // 2])
    found = []

    def read() -> None:
        with SoundReader(tmp_path / "cut", Tier.NEURAL) as sound:
            found.append(len(sound.read()) / RATE_HZ)

    said = told(read)
    assert 0.25 * SECONDS < found[0] < 0.75 * SECONDS
    assert len(said) == 1
    assert f"{found[0]:.2f} s" in said[0]


def test_of_a_damaged_flac_file_the_sound_before_the_damage_is_kept(tmp_path: Path) -> None:
    whole = io.BytesIO()
    rng = np.random.default_rng(2)
    soundfile.write(whole, rng.uniform(-0.5, 0.5, SECONDS * RATE_HZ), RATE_HZ, format="FLAC")
    (tmp_path / "cut.flac").write_bytes(whole.getvalue()[: 3 * len(whole.getvalue()) // 4])
    with pytest.warns(StreamcodecWarning, match=r"can be read for 2\.\d\d s of the 4\.00 s"):
        encode_file(tmp_path / "cut.flac", tmp_path / "cut.sc", tier="lossless")
    decode_file(tmp_path / "cut.sc", tmp_path / "back.wav")
    back, _ = soundfile.read(tmp_path / "back.wav", dtype="int16")
    there, _ = soundfile.read(io.BytesIO(whole.getvalue()), dtype="int16")
    assert len(back) > 2.8 * RATE_HZ
    assert np.array_equal(back, there[: len(back)])


@pytest.mark.parametrize("data", [b"", b"this is no sound, whatever its name says" * 20])
def test_what_is_no_sound_is_one_sentence_without_codes(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "it.wav").write_bytes(data)
    with pytest.raises(AudioFormatError) as caught:
        SoundReader(tmp_path / "it.wav")
    assert "it.wav" in str(caught.value)
    assert "Errno" not in str(caught.value)
    assert "is empty" in str(caught.value) or data


def test_samples_that_are_no_numbers_are_counted_and_told(tmp_path: Path) -> None:
    sound = tone(0.5)
    sound[[100, 200]], sound[300] = np.nan, np.inf
    soundfile.write(tmp_path / "bad.wav", sound, RATE_HZ, subtype="FLOAT")

    def read() -> None:
        with SoundReader(tmp_path / "bad.wav", Tier.NEAR_LOSSLESS) as reader:
            assert np.isfinite(reader.read()).all()

    said = told(read)
    assert sum("3 sample(s) that are no finite numbers" in sentence for sentence in said) == 1
    said = told(lambda: encode_array(sound[:4_800], RATE_HZ, tier="near-lossless"))
    assert len(said) == 1
    assert "the sound holds 3 sample(s)" in said[0]


def test_numbers_beyond_float32_are_limited_in_silence() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        limited = as_mono(np.array([1e300, -1e300, 0.25]))
        mixed = as_mono(np.array([[1e300, -1e300, 0.0], [0.25, 0.25, 0.25]]))
    assert limited.tolist() == [8.0, -8.0, 0.25]
    assert mixed.tolist() == [0.0, 0.25]


@pytest.mark.parametrize("kbps", [None, 1_500], ids=["usual", "compact"])
def test_what_follows_on_a_files_end_is_left_out_and_told(
    speech_file: Path, tmp_path: Path, kbps: int | None
) -> None:
    """Files joined by ``cat``, and what a transfer has hung on: neither is part of the sound."""
    options = {} if kbps is None else {"bitrate_bps": kbps}
    encode_file(speech_file, tmp_path / "a.sc", **options)
    whole = (tmp_path / "a.sc").read_bytes()
    decode_file(tmp_path / "a.sc", tmp_path / "a.wav")
    expected = soundfile.read(tmp_path / "a.wav")[0]
    encode_file(tmp_path / "a.wav", tmp_path / "longer.sc", tier="lossless")
    longer = (tmp_path / "longer.sc").read_bytes()
    for behind, what in (
        (longer, "another .sc file: split them"),
        (whole, "another .sc file"),
        (b"x" * 999, "something"),
    ):
        (tmp_path / "b.sc").write_bytes(whole + behind)
        with pytest.warns(StreamcodecWarning, match=f"followed by {len(behind)} bytes, left out, of {what}"):
            decode_file(tmp_path / "b.sc", tmp_path / "b.wav")
        np.testing.assert_array_equal(soundfile.read(tmp_path / "b.wav")[0], expected)
        with FileReader((tmp_path / "b.sc").open("rb"))._file as file:
            assert FileReader(file).bytes_behind == len(behind)
