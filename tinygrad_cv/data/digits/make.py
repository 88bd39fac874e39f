"""Make digits.npz out of scikit-learn's copy: `python -m tinygrad_cv.data.digits.make [PATH]`.

Anyone can check with it that the file is what SOURCE.md says: the arrays come out the same.
"""

import argparse
import importlib
import io
import zipfile
from pathlib import Path
from typing import Any

from tinygrad_cv.backend import host
from tinygrad_cv.storage import write

SHIPPED = Path(__file__).with_name("digits.npz")


def make() -> bytes:
    """The contents of digits.npz: uint8 images (1797, 8, 8) and uint8 labels (1797,)."""
    try:
        datasets: Any = importlib.import_module("sklearn.datasets")
    except ModuleNotFoundError as error:
        if error.name not in ("sklearn", "sklearn.datasets"):
            raise
        raise SystemExit(
            "The digits are made out of scikit-learn's copy: pip install scikit-learn"
        ) from None
    origin = datasets.load_digits()
    return archive(images=origin.images, labels=origin.target)


def archive(**arrays: host.ndarray) -> bytes:
    """The arrays as uint8 in NumPy's compressed .npz format.

    No time and no operating system goes in, so that the bytes depend on the arrays and on the
    version of zlib alone.
    """
    contents = io.BytesIO()
    with zipfile.ZipFile(contents, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as file:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system = 3  # Unix, wherever this runs
            entry.external_attr = 0o644 << 16
            values = io.BytesIO()
            host.lib.format.write_array(values, array.astype(host.uint8), version=(1, 0))
            file.writestr(entry, values.getvalue(), zipfile.ZIP_DEFLATED)
    return contents.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description="Make digits.npz out of scikit-learn's copy.")
    parser.add_argument("path", nargs="?", type=Path, default=SHIPPED, help="where to write it")
    path = parser.parse_args().path
    contents = make()
    write(path, contents)
    print(f"{path}: {len(contents):,} bytes, made from sklearn.datasets.load_digits()")


if __name__ == "__main__":
    main()
