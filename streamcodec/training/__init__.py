"""Training of the networks, from folders of sound to the shipped form.

``loop`` is the one training loop. What it trains is a ``task``: ``codec_task`` and ``research_task`` (regression),
``adversarial_task`` (either against a discriminator) or ``function_task`` (any module, loss and batches).
``codec_run`` puts a run together from what a user asks for. ``data`` and ``augment`` make batches, ``losses`` and
``balancer`` score them, ``distributed`` joins processes, ``throughput`` times them; ``export`` and ``release`` turn a
checkpoint into a model.

May import ``models``, ``codec``, ``runtime`` and ``native_dsp``; nothing on the live path imports this folder.
"""
