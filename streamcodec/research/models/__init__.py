"""Published learned compressors as small torch modules, one file each, that all end in real bytes.

``registry`` names them; ``base`` says what all share; ``representations`` turns sound into what they see and back;
``bottlenecks`` quantise latents and ``latent_coder`` turns them into bytes. Shapes stand in docstrings: B sounds,
C channels, F frequencies, N frames, P positions of a latent, T samples.

May import ``native_dsp``, torch and the rest of ``streamcodec.models``. Never imported by the live path, never trains
itself: losses and the loop are in ``streamcodec.training``.
"""
