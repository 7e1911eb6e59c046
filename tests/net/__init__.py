"""Tests of ``streamcodec.net``: simulated clocks wherever possible, real sockets only on 127.0.0.1."""
