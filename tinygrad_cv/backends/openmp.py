"""OpenMP, which nothing here is built with."""


def is_available() -> bool:
    """False"""
    return False
