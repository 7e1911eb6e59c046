"""The neural tier in a browser: its kernels as WebAssembly, and a small JavaScript package around them.

``python -m streamcodec.web.build FOLDER`` writes both; see ``docs/web.md``. May import ``native_dsp``,
``streamcodec.models``, ``streamcodec.runtime`` and ``streamcodec.codec``.
"""
