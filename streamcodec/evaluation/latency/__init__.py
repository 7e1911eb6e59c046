"""How long the codec takes: stage by stage, over many frames, cold and warm, at start-up; and on what machine.

May import ``codec``, ``runtime``, ``models`` (the torch-free loader) and ``native_dsp``. Never imports torch, and
never changes what the codec does: it times the very calls that a live stream makes (``stages``), and those of other
codecs and transforms (``timed_codecs``, ``timed_transforms``).
"""
