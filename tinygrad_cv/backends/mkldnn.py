"""Intel's oneDNN, which nothing here is built with; `enabled` has no effect."""

enabled = False


def is_available() -> bool:
    """False"""
    return False
