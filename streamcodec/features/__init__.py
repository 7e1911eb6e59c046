"""What latents are good for besides coding: probes that tell classes apart, and search for sounds that are alike.

May import the codec, its models and runtime, and ``errors``; never torch, networks or devices. scikit-learn is
imported late, by what needs it.
"""
