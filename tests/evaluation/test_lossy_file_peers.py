"""MP3 and AAC as peers: on time, of the right length, at the rate asked for."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from streamcodec.evaluation.alignment import delay_samples
from streamcodec.evaluation.errors import EvaluationError

pytest.importorskip("av")

from streamcodec.evaluation.peers.lossy_files import AacPeer, LossyFilePeer, Mp3Peer


@pytest.mark.parametrize(("peer", "most_error"), [(Mp3Peer(), 0.02), (AacPeer(), 0.07)], ids=["MP3", "AAC"])
@pytest.mark.parametrize(("rate_hz", "kbps"), [(24_000, 32), (44_100, 64)])
def test_decoded_sound_is_on_time_and_close(
    speech_file: object, peer: LossyFilePeer, most_error: float, rate_hz: int, kbps: int
) -> None:
    speech, _ = soundfile.read(speech_file, dtype="float32", frames=rate_hz)
    coded = peer(speech, rate_hz, kbps)
    assert coded.samples.shape == speech.shape
    assert coded.sample_rate_hz == rate_hz
    assert delay_samples(speech.astype(float), coded.samples.astype(float), 2_000) == 0
    assert np.mean((coded.samples - speech) ** 2) < most_error * np.mean(speech**2)
    assert coded.payload_bytes * 8 / 1000 == pytest.approx(kbps * len(speech) / rate_hz, rel=0.2)


def test_it_can_be_coded_at_another_rate() -> None:
    coded = Mp3Peer(32_000)(np.zeros(44_100, np.float32), 44_100, 32)
    assert (coded.sample_rate_hz, len(coded.samples)) == (32_000, 32_000)
    with pytest.raises(EvaluationError, match="96000"):
        Mp3Peer()(np.zeros(960, np.float32), 96_000, 32)
