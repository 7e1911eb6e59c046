"""Coded files back to sound: whole files, and the blocks of an open one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from streamcodec.codec.bitstream import check_bitstream
from streamcodec.codec.files.container import FileHeader, TimedPacket
from streamcodec.codec.files.container_reader import FileReader
from streamcodec.codec.files.damage import DamageCount, tell_of_damage
from streamcodec.codec.files.output_file import readable_name
from streamcodec.codec.files.sound_file import SoundSource, open_binary
from streamcodec.codec.files.sound_writer import SoundWriter
from streamcodec.codec.options import MAX_DURATION_S, Samples, check_number, check_sample_rate, check_whole, tier_name
from streamcodec.codec.packet import Tier
from streamcodec.codec.stream import StreamDecoder
from streamcodec.errors import AudioFormatError, FileFormatError
from streamcodec.models.shipped import DEFAULT_MODEL, model_names
from streamcodec.wording import named

Progress = Callable[[float], None]


def check_output_rate(header: FileHeader, wanted_hz: int | None) -> int:
    """The rate to decode to, where one is wanted or not; raises AudioFormatError for one that cannot be had."""
    rate_hz = header.sample_rate_hz if wanted_hz is None else check_whole("sample_rate_hz", wanted_hz)
    check_tier_rate(header.tier, header.sample_rate_hz, rate_hz)
    return rate_hz


def check_tier_rate(tier: Tier, coded_hz: int, wanted_hz: int) -> None:
    """Raise AudioFormatError where a tier does not decode what was coded at one rate to another."""
    if tier is Tier.NEURAL:
        check_sample_rate(wanted_hz)
    elif coded_hz != wanted_hz:
        raise AudioFormatError(
            f"the {tier_name(tier)} tier decodes to the rate it was encoded at, {coded_hz} Hz, not {wanted_hz}: "
            "resample the decoded sound"
        )


def model_of(header: FileHeader, model: str | None = None) -> str:
    """The model for a file: the user's, or the one that the file names if that is a shipped one.

    A file never makes anything be loaded from anywhere else. Raises FileFormatError.
    """
    if header.tier is not Tier.NEURAL:
        return DEFAULT_MODEL
    if model is None and header.model not in model_names():
        raise FileFormatError(
            f"the file was made with the model {header.model[:64]!r}, which is not among the shipped ones "
            f"({', '.join(model_names())}): name it, or its folder, with {named('model')}"
        )
    return model or header.model


def decoder_for(
    header: FileHeader, sample_rate_hz: int | None = None, model: str | None = None, *, post_filter: bool = True
) -> StreamDecoder:
    """The decoder of a file that this build reads; raises AudioFormatError, FileFormatError or ModelError."""
    rate_hz = check_output_rate(header, sample_rate_hz)
    check_bitstream(header.bitstream, header.tier, model_of(header, model), header.channels)
    return StreamDecoder(
        rate_hz,
        tier=header.tier,
        channels=header.channels,
        bits_per_sample=header.bits_per_sample,
        model=model_of(header, model),
        post_filter=post_filter,
    )


def decode_file(
    source: SoundSource,
    target: SoundSource,
    *,
    sample_rate_hz: int | None = None,
    model: str | None = None,
    max_duration_s: float = MAX_DURATION_S,
    floats: bool = False,
    post_filter: bool = True,
    progress: Progress | None = None,
) -> int:
    """Decode a ``.sc`` file to a sound file (the suffix says the format, WAV for a stream).

    ``model``, a name or folder, is needed where the file was made with a model that is not shipped. Written with 16
    bits, or 8, 24 or 32 where a waveform tier was given those, or in 32-bit floating point. ``post_filter`` as for
    ``StreamDecoder``. Sound of more than ``max_duration_s`` is refused. The target appears when it is whole. Returns
    the number of samples written (of each channel). Damage is concealed and told (StreamcodecWarning); a file of
    which nothing can be read is an error. Raises AudioFormatError, FileFormatError or ModelError.
    """
    check_number("max_duration_s", max_duration_s, FileFormatError)
    with open_binary(source) as file:
        reader = FileReader(file, readable_name(source))
        header = reader.header
        rate_hz = check_output_rate(header, sample_rate_hz)
        total = _samples_at(reader.total_samples, header, rate_hz)
        written = 0
        with SoundWriter(
            target,
            rate_hz,
            header.channels,
            header.bits_per_sample,
            header.metadata,
            pictures=reader.pictures(),
            sources=(source,),
            floats=floats,
        ) as out:
            # Only now, since this may compile kernels: what cannot be written is told at once.
            decoder = decoder_for(header, rate_hz, model, post_filter=post_filter)
            for block in decoded_blocks(reader, decoder, readable_name(source)):
                out.write(block)
                written += len(block)
                if written > max_duration_s * rate_hz:
                    raise FileFormatError(
                        f"{readable_name(source)} holds more than {max_duration_s:g} s of sound; if that is right, "
                        f"allow more with {named('max_duration_s')}"
                    )
                if progress is not None and total:
                    progress(min(written / total, 1.0))
    return written


def decoded_blocks(reader: FileReader, decoder: StreamDecoder, name: str = "the file") -> Iterator[Samples]:
    """Sound of an open file as it is decoded, the delay taken away and as long as what was coded.

    What was cut off or is damaged is told at the end (StreamcodecWarning), of the file with this ``name``; one of
    which no packet can be read raises FileFormatError, unless it says that it is empty.

    Shape: each block as of :meth:`StreamDecoder.push`.
    """
    header, rate_hz = reader.header, decoder.sample_rate_hz
    lag = lag_samples(decoder, header.delay_samples, header.sample_rate_hz)
    total = _samples_at(reader.total_samples, header, rate_hz)

    def accounted() -> int | None:
        return _samples_at(reader.trusted_samples(lag), header, rate_hz)

    count = DamageCount(reader, decoder, name)
    yield from trimmed(decode_timed(decoder, count.packets()), lag, total, accounted, decoder)
    tell_of_damage(name, reader, count.frames)


def _samples_at(coded: int | None, header: FileHeader, rate_hz: int) -> int | None:
    return None if coded is None else -(-coded * rate_hz // header.sample_rate_hz)


def lag_samples(decoder: StreamDecoder, encoder_delay_samples: int, encoder_rate_hz: int) -> int:
    """Samples, at the decoder's rate, by which decoded sound lags what was encoded."""
    return decoder.delay_samples + round(encoder_delay_samples * decoder.sample_rate_hz / encoder_rate_hz)


def decode_timed(decoder: StreamDecoder, packets: Iterable[TimedPacket]) -> Iterator[Samples]:
    """Sound of every packet duration, gaps concealed, tail flushed."""
    yield from decode_with_gaps(decoder, packets)
    yield decoder.flush()


def decode_with_gaps(decoder: StreamDecoder, packets: Iterable[TimedPacket]) -> Iterator[Samples]:
    """The same without the tail."""
    time = 0
    for timed in packets:
        for _ in range(timed.time - time):
            yield decoder.push(None, timed.packet)
        yield decoder.push(timed.packet)
        time = timed.time + timed.packet.frames


def trimmed(
    blocks: Iterable[Samples],
    lag: int,
    total: int | None,
    accounted: Callable[[], int | None],
    decoder: StreamDecoder,
) -> Iterator[Samples]:
    """Drop ``lag`` samples in front; end after ``total``, with silence where too few came.

    ``accounted`` says, after the last block, how much of the total may be believed.
    """
    given = 0
    for block in blocks:
        kept = block[min(lag, len(block)) :]
        lag -= len(block) - len(kept)
        if total is not None:
            kept = kept[: total - given]
        given += len(kept)
        if len(kept):
            yield kept
        if given == total:
            return
    believed = accounted()
    while believed is not None and given < believed:
        silence = decoder.silence(min(believed - given, 1 << 16))
        given += len(silence)
        yield silence
