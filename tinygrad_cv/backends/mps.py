"""Apple's GPUs, which nothing here is built with."""


def is_available() -> bool:
    """False"""
    return False


def is_built() -> bool:
    """False"""
    return False
