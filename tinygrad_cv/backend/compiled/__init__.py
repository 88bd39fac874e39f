"""Kernels compiled for the CPU at hand, by numba: the device "cpu" where the extra `fast` is there.

`backend.py` is the backend; it takes the kernels from the other files, a family each, and leaves to
NumPy what they do not do. `vectors.py` is what the kernels are written in, `jit.py` compiles them.
Nothing here is imported before the first kernel runs, for numba takes a third of a second.
"""
