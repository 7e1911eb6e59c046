"""The neural tier in a browser: its kernels as WebAssembly, a JavaScript package around them, and pages.

``python -m streamcodec.web.build FOLDER`` writes all files, :func:`streamcodec.web.files.web_files` gives them; see
``docs/web.md``. May import ``native_dsp``, ``streamcodec.models``, ``streamcodec.runtime`` and ``streamcodec.codec``.
"""
