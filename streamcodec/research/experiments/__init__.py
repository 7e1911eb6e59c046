"""The research bench: experiments on learned codecs, one file each, run by ``streamcodec experiment NAME``.

May import ``training``, ``evaluation``, ``models``, ``codec``, ``native_dsp`` and torch; only the command line
imports this folder, inside the command. Never holds a training loop (``streamcodec.training.loop`` is the only one),
a network (``streamcodec.research.models``) or a metric (``streamcodec.evaluation``).

To add an experiment: write ``<name_with_underscores>.py`` here with ``EXPERIMENT = Experiment(name, summary, run)``,
where ``run(context)`` returns :class:`~streamcodec.research.experiments.experiment.Results`, and add its name to
``NAMES`` in ``registry``. The runner writes the config, the figures, the tables and the page; ``run`` trains,
measures and draws:

- sound: ``context.material`` (files for training and development, split already);
- work done once and kept for a resumed run: ``context.once(key, function)`` (its result must be JSON);
- how much work: ``context.scale`` (steps, files, seconds); randomness: from ``context.seed`` alone;
- files: anything under ``context.folder``, named by ``Picture`` and ``Sound`` in the results;
- seconds and other figures that differ from run to run: in columns named in ``Table.timed``, never in the others.
"""
