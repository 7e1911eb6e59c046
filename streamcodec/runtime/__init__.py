"""How a model is stepped: onnxruntime on the CPU, with explicit state in preallocated arrays.

May import numpy and onnxruntime. Knows graphs and arrays, nothing of packets, bits or sound.
"""
