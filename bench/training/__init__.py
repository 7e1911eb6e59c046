"""Short training runs from nothing that differ in one thing each, scored at equal rates."""
