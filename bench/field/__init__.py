"""Codecs in the rooms and on the microphones of daily life: the same clips, spoilt in ten ways before they are coded."""
