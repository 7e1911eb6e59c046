"""What the relay writes to a websocket, built without the library: unmasked, unfragmented frames (RFC 6455, 5.2)."""

from __future__ import annotations

from streamcodec.extras import extra_imports

with extra_imports("net"):
    from websockets.frames import Opcode


def packet_frame(source: int, datagram: bytes) -> bytes:
    """A datagram as it goes to clients, built once however many they are."""
    return _frame(Opcode.BINARY, bytes((source,)) + datagram)


def text_frame(text: str) -> bytes:
    """A signalling message."""
    return _frame(Opcode.TEXT, text.encode())


def _frame(opcode: Opcode, payload: bytes) -> bytes:
    length = len(payload)
    if length < 126:
        return bytes((0x80 | opcode, length)) + payload
    if length < 65_536:
        return bytes((0x80 | opcode, 126)) + length.to_bytes(2, "big") + payload
    return bytes((0x80 | opcode, 127)) + length.to_bytes(8, "big") + payload
