"""Gradients clipped, parameters as vectors, parametrizations, packed sequences."""
