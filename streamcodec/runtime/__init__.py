"""How a model is stepped: onnxruntime on the CPU, torch on CPU or GPU, with explicit state in preallocated arrays.

``step`` is the interface, ``backend`` chooses. May import ``models`` (the torch-free loader; torch modules only in
``torch_step``, which is loaded when a torch backend is chosen). Knows graphs and arrays, nothing of packets, bits or
sound, and never imports torch unless asked to use it.
"""
