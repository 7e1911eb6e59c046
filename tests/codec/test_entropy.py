"""Integer entropy coding: exact inverse, near the model's cross-entropy, the same in every process."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from numpy.typing import NDArray

from native_dsp.jit import kernel
from streamcodec import StreamEncoder
from streamcodec.codec.neural import entropy, entropy_tables
from streamcodec.codec.neural.analysis import LatentAnalysis
from streamcodec.codec.neural.decoder import NeuralDecoder
from streamcodec.codec.neural.entropy_tables import checked_tables
from streamcodec.codec.neural.model import LatentContext, load_runtime
from streamcodec.codec.neural.packet_coder import PacketCoder
from streamcodec.errors import ModelError
from streamcodec.models.shipped import DEFAULT_MODEL, load_model

Float32Array = NDArray[np.float32]


def test_symbol_tables_are_proper() -> None:
    tables = entropy_tables.make_symbol_tables()
    for index in range(entropy.TABLE_COUNT):
        width = 2 * int(tables.half_width[index]) + 3
        for fraction in range(1 << entropy.LOCATION_BITS):
            row = tables.cumulative[int(tables.offset[index]) + fraction * width :][:width]
            assert row[0] == 0
            assert row[-1] == 1 << entropy.TABLE_BITS
            assert (np.diff(row) >= 1).all()


def test_stored_tables_are_those_of_the_formula() -> None:
    stored = load_runtime(DEFAULT_MODEL).tables
    made = entropy_tables.make_symbol_tables()
    np.testing.assert_array_equal(stored.cumulative, made.cumulative)


@pytest.mark.parametrize("spread", [0.1, 3.0, 200.0, 1e6])
def test_any_latents_come_back_as_their_indices(spread: float) -> None:
    runtime = load_runtime(DEFAULT_MODEL)
    config = runtime.model.config
    rng = np.random.default_rng(1)
    coder = PacketCoder(runtime)
    decoder = NeuralDecoder(runtime)
    from streamcodec import Packet, PacketFlags, Tier

    ours, count = LatentContext(config.latents), 0
    for k in range(40):
        latents = (spread * rng.standard_normal(config.latents)).astype(np.float32)
        quality_index = int(rng.integers(config.qualities))
        key = k % 7 == 0
        if key:
            ours.forget()
        payload = coder.code(latents[None], quality_index, ours)
        expected = ours.values[: config.latents]
        flags = PacketFlags.KEY if key else PacketFlags.NONE
        if len(payload) > 900:
            continue
        count += 1
        indices = decoder.indices_of(Packet(Tier.NEURAL, k, k, quality_index, flags, payload))
        assert indices is not None
        limited = [
            entropy.clamp_latent(int(i), int(s))
            for i, s in zip(indices, runtime.tables.step[quality_index], strict=True)
        ]
        np.testing.assert_array_equal(limited, expected)
    assert count > 10


def test_a_packet_that_leans_on_none_is_blind_to_those_before() -> None:
    runtime = load_runtime(DEFAULT_MODEL)
    coder, rng = PacketCoder(runtime), np.random.default_rng(2)
    latents = (2.0 * rng.standard_normal((1, runtime.model.config.latents))).astype(np.float32)
    empty, full = (LatentContext(latents.size) for _ in range(2))
    full.values[:] = rng.integers(-1_000, 1_000, full.values.size)
    assert coder.cost_bits(latents, 6, full) == coder.cost_bits(latents, 6, empty)
    assert coder.code(latents, 6, full) == coder.code(latents, 6, empty)
    # The packet after leans on this one alone, and then they matter.
    inter_coded = coder.code(latents, 6, empty)
    assert inter_coded != coder.code(latents, 6, LatentContext(latents.size))


def test_real_size_is_within_two_percent_of_the_cross_entropy(speech: Float32Array) -> None:
    runtime = load_runtime(DEFAULT_MODEL)
    config = runtime.model.config
    coder, analysis = PacketCoder(runtime), LatentAnalysis(runtime)
    context = LatentContext(config.latents)
    ideal = real = 0.0
    for k in range(speech.size // 480):
        latents = analysis.step(speech[480 * k : 480 * (k + 1)])
        if k % 50 == 0:
            context.forget()
        ideal += coder.cost_bits(latents[None], 15, context)
        real += 8 * len(coder.code(latents[None], 15, context))
    packets = speech.size // 480
    # Beyond 2 % only the rounding of each packet to whole bytes, at most a byte, may come on top.
    assert ideal < real < 1.02 * ideal + 8 * packets


CHILD = """
import sys, json
from streamcodec import Packet
from streamcodec.codec.neural.decoder import NeuralDecoder
from streamcodec.codec.neural.model import load_runtime
decoder = NeuralDecoder(load_runtime("speech-24k"))
out = []
for line in sys.stdin:
    indices = decoder.indices_of(Packet.from_bytes(bytes.fromhex(line)))
    out.append(None if indices is None else indices.tolist())
print(json.dumps(out))
"""


def test_a_fresh_process_decodes_the_same_indices(speech: Float32Array) -> None:
    packets = StreamEncoder(24_000, 6_000, mode="stream").push(speech)
    decoder = NeuralDecoder(load_runtime(DEFAULT_MODEL))
    here = []
    for packet in packets:
        indices = decoder.indices_of(packet)
        assert indices is not None
        here.append(indices.tolist())
    lines = "\n".join(p.to_bytes().hex() for p in packets)
    child = subprocess.run(
        [sys.executable, "-c", CHILD], input=lines, capture_output=True, text=True, check=True, timeout=100
    )
    assert json.loads(child.stdout) == here


def test_decoding_arbitrary_bytes_in_bulk_is_harmless() -> None:
    """20,000 payloads of noise straight into the entropy decoder: indices stay within bounds."""
    runtime = load_runtime(DEFAULT_MODEL)
    config = runtime.model.config
    rng = np.random.default_rng(9)
    values = np.zeros((entropy.CONTEXT_FRAMES + 1) * config.latents, np.int32)
    arguments = entropy.bundle_coding(runtime.tables, config.entropy_hidden, np.zeros(0, np.uint8))
    indices = np.zeros((2, config.latents), np.int32)
    noise = rng.integers(0, 256, (20_000, 40), dtype=np.uint8)
    for row, length, quality_index in zip(
        noise, rng.integers(0, 41, 20_000), rng.integers(0, config.qualities, 20_000), strict=True
    ):
        entropy.read_indices(arguments, int(quality_index), 0, values, row, int(length), indices)
        assert np.abs(indices).max() <= 1 << 17


@kernel
def _sums(tables: entropy.EntropyTables, prediction: entropy.Prediction, group: int, mask: int) -> None:
    entropy.predict_group(tables, group, 0, mask, prediction)


@pytest.mark.parametrize("mask", [0, 1, 3])
def test_hidden_units_in_tiles_are_those_of_the_weights(mask: int) -> None:
    """Products in tiles of what is stored unit by unit, with whatever lies where a group may not look."""
    model = load_model(DEFAULT_MODEL)
    tables, stored, config = load_runtime(DEFAULT_MODEL).tables, model.entropy, model.config
    rng = np.random.default_rng(mask)
    prediction = entropy.make_prediction(config.latents, config.entropy_hidden)
    prediction.inputs[:] = rng.integers(-entropy.INPUT_LIMIT, entropy.INPUT_LIMIT + 1, prediction.inputs.size)
    split = entropy.CONTEXT_FRAMES * config.latents
    for group in (0, 1, 23):
        start = int(tables.bounds[group])
        _sums(tables, prediction, group, mask)
        known = prediction.inputs[: split + start].astype(np.int64)
        known[:split] *= mask > 0
        expected = stored["hidden"][group, :, : split + start].astype(np.int64) @ known
        np.testing.assert_array_equal(prediction.sums[: config.entropy_hidden], expected)


def test_weights_whose_sums_need_more_than_32_bits_are_refused() -> None:
    model = load_model(DEFAULT_MODEL)
    arrays = {name: np.array(array) for name, array in model.entropy.items()}
    arrays["hidden"][3, 5] = -5_000
    with pytest.raises(ModelError, match="hidden units add up"):
        checked_tables(model.config, arrays, "a model")
