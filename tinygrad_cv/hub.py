"""Weights from the web, under PyTorch's names (`torch.hub`) and in its folder.

What is read is data: see `load`, which runs nothing that a file holds. PyTorch's `load` of this
module runs a program of somebody else's, and is not here.
"""

import os
import re
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from tinygrad_cv._downloads import DownloadError as DownloadError
from tinygrad_cv._downloads import download
from tinygrad_cv.storage import load as load_file

_chosen: Path | None = None


def get_dir() -> str:
    """The folder of what was downloaded: PyTorch's own, unless `set_dir` chose another.

    That is hub/ in $TORCH_HOME, by default $XDG_CACHE_HOME/torch or ~/.cache/torch.
    """
    if _chosen is not None:
        return str(_chosen)
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return str(Path(os.environ.get("TORCH_HOME", f"{cache}/torch")).expanduser() / "hub")


def set_dir(d: str | os.PathLike[str]) -> None:
    """Choose the folder of what is downloaded.

    >>> before = get_dir()
    >>> set_dir("weights")
    >>> get_dir()
    'weights'
    >>> set_dir(before)
    """
    global _chosen
    _chosen = Path(d).expanduser()


def download_url_to_file(
    url: str, dst: str | os.PathLike[str], hash_prefix: str | None = None, progress: bool = True
) -> None:
    """Write what is at an address to a file, whole or not at all.

    With `hash_prefix` its SHA-256 in hexadecimal digits has to begin so. `progress` says on stderr
    what is downloaded, and on a terminal how far it is. A connection that is cut is taken up again.

    Raises `DownloadError`, a RuntimeError, if the address does not give the file, or another one.
    """
    if progress:
        print(f'Downloading: "{url}" to {dst}', file=sys.stderr)
    download([url], Path(dst), sha256=hash_prefix, progress=progress)


def load_state_dict_from_url(
    url: str,
    model_dir: str | os.PathLike[str] | None = None,
    map_location: Any = None,
    progress: bool = True,
    check_hash: bool = False,
    file_name: str | None = None,
    weights_only: bool = False,
) -> Any:
    """What `load` reads from a file, which is downloaded if it is not there yet.

    It lies in `model_dir`, by default checkpoints/ in `get_dir()`, under `file_name` or else the
    last part of the address. With `check_hash` a name such as resnet18-f37072fd.pth holds the first
    digits of the SHA-256. `weights_only` changes nothing: there is one way to read.

    >>> import tempfile
    >>> import tinygrad_cv as tg
    >>> folder = Path(tempfile.mkdtemp())
    >>> tg.save({"weight": tg.ones(2)}, folder / "a.pt")
    >>> load_state_dict_from_url((folder / "a.pt").as_uri(), folder / "kept", progress=False)
    {'weight': tensor([1., 1.])}
    """
    folder = Path(get_dir()) / "checkpoints" if model_dir is None else Path(model_dir)
    path = folder / (file_name or Path(unquote(urlparse(url).path)).name)
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        digits = re.search(r"-([0-9a-f]*)\.", path.name) if check_hash else None
        download_url_to_file(url, path, digits and digits[1], progress)
    return load_file(path, map_location=map_location)
