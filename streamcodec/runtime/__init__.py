"""How a model is stepped: onnxruntime or compiled kernels on CPUs, torch on CPU or GPU, with explicit state.

``step`` is the interface, ``backend`` chooses. May import ``native_dsp`` and ``models`` (the torch-free loaders;
torch modules only in ``torch_step``, loaded when a torch backend is chosen). Knows graphs and arrays, nothing of
packets, bits or sound, and never imports torch unless asked to use it.
"""
