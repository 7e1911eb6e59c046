"""What can be wrong with the devices of a machine; each message says what to install or connect."""

from __future__ import annotations

from streamcodec.errors import StreamcodecError


class DeviceError(StreamcodecError):
    """No PortAudio, no device, or one that cannot do what it is asked for."""
