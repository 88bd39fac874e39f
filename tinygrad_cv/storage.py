"""Files that are written whole or not at all."""

import os
from pathlib import Path


def write(path: Path, contents: bytes) -> None:
    """Write a whole file or none: under another name first, then renamed in one step."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(contents)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
