"""Values and gradients beside PyTorch: `python -m pytest --torch tests/beside_torch`."""
