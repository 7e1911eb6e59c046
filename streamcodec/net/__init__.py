"""Packets across a bad network: jitter buffer, playout, loss, redundancy, reports, relay, signalling, WebRTC.

The path of a packet, in file names: ``redundancy`` -> ``e2e`` -> ``webrtc`` or ``client`` -> ``relay`` ->
``e2e`` -> ``jitter_buffer`` -> ``playout`` -> ``mixer``; ``report`` and ``congestion`` close the loop backwards, and
``loss_models`` and ``lossy_link`` stand in for the network in tests and demos.

May import ``codec`` and ``native_dsp``. Never imports ``live``, ``cli`` or torch, never reads a wall clock where a
caller can inject one, never logs a token, key or packet body. The jitter buffer, playout, loss models, reports and
congestion control need numpy alone; sockets and cryptography come with the ``net`` extra.
"""
