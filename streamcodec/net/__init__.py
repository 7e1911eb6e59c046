"""Packets across a bad network: from an encoder's packets to sound at the other end, and the servers in between.

The path of a packet, in file names: ``session`` (sender) -> ``redundancy`` -> ``room`` -> ``e2e`` -> ``webrtc``, or
``client`` -> ``relay_connection`` -> ``relay`` (-> ``cluster`` -> another relay) -> ``client`` -> ``e2e`` ->
``session`` (receiver) -> ``jitter_buffer`` with ``delay_estimator`` -> ``playout`` with ``time_scale`` -> ``mixer``.
``report`` and ``congestion`` close the loop backwards. ``call`` is all of it behind two methods, ``tracks`` the same
for aiortc applications, ``simulate`` the same on a simulated clock, with ``loss_models`` and ``lossy_link`` for a
network. ``signalling``, ``tokens`` and ``rate_limit`` serve client and relay.

May import ``codec`` and ``native_dsp``. Never imports ``live``, ``cli`` or torch, never reads a wall clock where a
caller can inject one, never logs a token, key or packet body. Everything from ``session`` to ``mixer`` needs numpy
alone; sockets and cryptography come with the ``net`` extra, shared rooms with ``cluster``.
"""
