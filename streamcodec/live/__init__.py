"""Live sound: microphone and loudspeaker around the codec.

The path of a sample, in file names: ``devices`` -> ``engine`` (callback) -> ``ring_buffer`` -> ``engine`` (process:
encode, ``net``'s lossy link and jitter buffer, decode, ``feedback_guard``) -> ``ring_buffer`` -> ``devices``.
``loopback`` runs it all on its threads, woken by ``wake_up``, on a ``lasting_stream`` that outlives an underrun;
``recorder`` writes a file, ``cost_window`` and ``meter`` say how it goes. ``sound_devices`` is microphone,
loudspeaker or both, for calls, and ``call_meter`` a call's picture.

May import ``net``, ``codec``, ``models.shipped`` and ``native_dsp``; sounddevice only inside ``devices``, when a
device is asked for. A device callback never allocates arrays, waits for a lock or touches a file. Never imports
``cli`` or torch.
"""

from streamcodec.live.devices import DeviceInfo, list_devices
from streamcodec.live.engine import DelaySplit, LoopbackConfig, LoopbackEngine, LoopbackStats
from streamcodec.live.errors import DeviceError
from streamcodec.live.loopback import Loopback
from streamcodec.live.sound_devices import SoundDevices

__all__ = [
    "DelaySplit",
    "DeviceError",
    "DeviceInfo",
    "Loopback",
    "LoopbackConfig",
    "LoopbackEngine",
    "LoopbackStats",
    "SoundDevices",
    "list_devices",
]
