"""Training of the networks, from folders of sound to the shipped form.

``loop`` is the one training loop. What it trains is a ``task``: ``codec_task`` and ``research_task`` (regression),
``adversarial_task`` (either against a discriminator) or ``function_task`` (any module, loss and batches).
``codec_run`` puts a run together from what a user asks for. ``data`` and ``augment`` make batches, ``losses`` and
``balancer`` score them, ``distributed`` joins processes, ``throughput`` times them. ``release`` turns checkpoints
into a model, as a ``recipe`` says: ``export`` and ``graph_export`` write its files, ``coded_rate``, ``band_gains``
and ``envelope_fit`` measure and fit, ``card`` describes it.

May import ``models``, ``codec``, ``runtime`` and ``native_dsp``, and ``evaluation`` to tell kinds of sound and to
measure a release; nothing on the live path imports this folder.
"""
