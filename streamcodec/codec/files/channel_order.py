"""The order of surround channels: in Ogg the centre is second and low frequencies last, elsewhere it is WAV's.

libsndfile leaves them as they are. Sources: Vorbis I specification, 4.3.9; RFC 7845, 5.1.1.2; Microsoft, Multiple
Channel Audio Data and WAVE Files.
"""

from __future__ import annotations

import numpy as np

from streamcodec.codec.options import Samples

_OGG_CODECS = ("VORBIS", "OPUS")
_OGG_ORDERS: dict[int, tuple[int, ...]] = {
    3: (0, 2, 1),
    5: (0, 2, 1, 3, 4),
    6: (0, 2, 1, 4, 5, 3),
    7: (0, 2, 1, 5, 6, 4, 3),
    8: (0, 2, 1, 6, 7, 4, 5, 3),
}
"""Where each channel of Ogg stands in WAV, by how many there are; of others the order is the same, or nobody's."""


def as_written(samples: Samples, subtype: str) -> Samples:
    """Samples in the order of a file of libsndfile's ``subtype``.

    Shape: ``[n, channels]``.
    """
    order = _order_of(samples, subtype)
    return samples if order is None else samples[:, order]


def as_read(samples: Samples, subtype: str) -> Samples:
    """Inverse of :func:`as_written`."""
    order = _order_of(samples, subtype)
    return samples if order is None else np.ascontiguousarray(samples[:, np.argsort(order)])


def _order_of(samples: Samples, subtype: str) -> tuple[int, ...] | None:
    return _OGG_ORDERS.get(samples.shape[1]) if subtype in _OGG_CODECS else None
