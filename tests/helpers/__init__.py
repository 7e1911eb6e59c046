"""Fakes, processes and simulations that several tests share."""
