"""Codecs in the rooms and on the microphones of daily life: the same clips, spoilt before they are coded."""
