"""End-to-end encryption: what passes the relay is sealed with keys that the relay never has.

``passphrase`` -> ``cpace`` in ``handshake``, between every two people -> ``session`` (signals, and media for one) ->
``media`` (sealed once for everybody, with keys that each sender gives to each receiver) in ``sframe``'s framing.
``group`` is all of it for one room, ``states`` says how it stands with each person. Docs: ``docs/threat-model.md``.

May import ``signalling``'s limits and ``rate_limit`` of ``net``; knows no socket and no wall clock.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streamcodec.net.e2e.group import EndToEnd
    from streamcodec.net.e2e.passphrase import KEY_BYTES, check_passphrase, new_passphrase, room_key_from_passphrase
    from streamcodec.net.e2e.sframe import SealError
    from streamcodec.net.e2e.states import SealState

__all__ = [
    "KEY_BYTES",
    "EndToEnd",
    "SealError",
    "SealState",
    "check_passphrase",
    "new_passphrase",
    "room_key_from_passphrase",
]

_HOME = {
    "KEY_BYTES": "passphrase",
    "EndToEnd": "group",
    "SealError": "sframe",
    "SealState": "states",
    "check_passphrase": "passphrase",
    "new_passphrase": "passphrase",
    "room_key_from_passphrase": "passphrase",
}


def __getattr__(name: str) -> object:
    """Loaded when first asked for: the words for a screen (``states``) need no cryptography, which is an extra."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
