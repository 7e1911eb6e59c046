"""A trained research model as a codec: sound to real bytes and back."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from streamcodec.errors import FileFormatError
from streamcodec.research.models.base import Float32Array, ResearchModel
from streamcodec.research.models.latent_coder import LatentCoder


class ResearchCodec:
    """A model and the fitted tables of its latents.

    Coded sound: the number of samples (4 bytes), for every latent but the last the length of its code (4 bytes each),
    then the codes. Nothing else is needed to decode but the model, unless a phase is lent.
    """

    def __init__(self, model: ResearchModel, coders: Sequence[LatentCoder]) -> None:
        self.model = model.eval()
        self.coders = tuple(coders)

    @classmethod
    def fit(cls, model: ResearchModel, sounds: Sequence[Float32Array]) -> ResearchCodec:
        """Fit the tables to training sound.

        Shape: each ``[T]``.
        """
        model.eval()
        examples = zip(*(model.indices(sound) for sound in sounds), strict=True)
        return cls(model, [LatentCoder.fit(each) for each in examples])

    def encode(self, samples: Float32Array) -> bytes:
        """Shape: ``[T]``, mono at the model's rate."""
        codes = self.encode_parts(samples)
        lengths = [samples.size, *(len(code) for code in codes[:-1])]
        return struct.pack(f"<{len(lengths)}I", *lengths) + b"".join(codes)

    def encode_parts(self, samples: Float32Array) -> list[bytes]:
        """The code of each latent by itself."""
        return [
            coder.encode(indices) for coder, indices in zip(self.coders, self.model.indices(samples), strict=True)
        ]

    def decode(self, coded: bytes, original: Float32Array | None = None) -> Float32Array:
        """Shape: output ``[T]``; ``original`` lends its phase to models that have none.

        Raises:
            FileFormatError: too short to hold what it says.
        """
        count = len(self.coders)
        if len(coded) < 4 * count:
            raise FileFormatError(f"{len(coded)} bytes are too few for the code of a sound")
        samples, *lengths = struct.unpack_from(f"<{count}I", coded)
        body, codes = coded[4 * count :], []
        for length in (*lengths, len(body)):
            codes.append(body[:length])
            body = body[length:]
        positions = self.model.positions(self.model.representation.columns(samples))
        indices = [
            coder.decode(code, places) for coder, code, places in zip(self.coders, codes, positions, strict=True)
        ]
        return self.model.sound(indices, samples, original)

    def latent_count(self, samples: int) -> int:
        """How many latents stand for that many samples: what the papers count."""
        positions = self.model.positions(self.model.representation.columns(samples))
        return sum(rows * places for rows, places in zip(self.model.rows(), positions, strict=True))
