"""Small pictures of arrays: images, what a convolution gives, its filters."""

import base64
import struct
import zlib
from typing import Any

from tinygrad_cv._graph import Node
from tinygrad_cv.backend import host

TILES, ROW = 8, 4
"""At most so many of them, so many beside each other."""
SIDE = 32
"""The most pixels of a side."""
GAP = 1


def image_of(values: Any, node: Node) -> str:
    """An array (in host memory) that a node gave as a PNG, a data URI; "" if it is no image.

    Images are an input (N, 1 or 3, H, W); of what a convolution gives the channels of the first
    sample; of a weight (N, C, H, W) its filters, of which the first channel if C is not 1 or 3.
    """
    if values.ndim != 4 or not values.size or values.dtype.kind not in "fiub":
        return ""
    if node.op is not None:
        tiles = values[0, :, None] if node.op.name.startswith("conv") else None
    elif values.shape[1] in (1, 3):
        tiles = values
    else:
        tiles = values[:, :1] if node.requires_grad else None
    if tiles is None:
        return ""
    return _png(_montage([_scaled(tile) for tile in _levels(tiles[:TILES])]))


def _levels(tiles: Any) -> Any:
    """Numbers from 0 to 1: the least is black, the greatest white."""
    tiles = tiles.astype("float32")
    finite = host.isfinite(tiles)
    if not finite.all():
        tiles = host.where(finite, tiles, tiles[finite].mean() if finite.any() else 0.0)
    least, most = tiles.min(), tiles.max()
    with host.errstate(over="ignore", invalid="ignore"):
        spread = most - least
        return host.nan_to_num((tiles - least) / spread) if spread > 0 else tiles * 0 + 0.5


def _scaled(tile: Any) -> Any:
    """A tile (C, H, W) with sides of 32 pixels at most: means of squares, or squares of pixels."""
    channels, height, width = tile.shape
    k = -(-max(height, width) // SIDE)
    if k > 1:
        height, width = max(1, height // k), max(1, width // k)
        tile = tile[:, : height * k, : width * k]
        rows, columns = tile.shape[1] // height, tile.shape[2] // width
        return tile.reshape(channels, height, rows, width, columns).mean(axis=(2, 4))
    k = SIDE // max(height, width)
    return tile.repeat(k, axis=1).repeat(k, axis=2)


def _montage(tiles: list[Any]) -> Any:
    """Tiles beside and below each other, as whole numbers (H, W, C)."""
    channels, height, width = tiles[0].shape
    rows = -(-len(tiles) // ROW)
    columns = -(-len(tiles) // rows)
    size = (rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, channels)
    whole = host.zeros(size, "uint8")  # between the tiles one sees through
    for i, tile in enumerate(tiles):
        top, left = i // columns * (height + GAP), i % columns * (width + GAP)
        whole[top : top + height, left : left + width] = (1 + tile * 254).transpose(1, 2, 0)
    return whole


def _png(pixels: Any) -> str:
    """Pixels (H, W, 1 or 3) as a PNG, a data URI, in which 0 is transparent.

    Source: Portable Network Graphics (PNG) Specification, third edition, W3C 2025.
    """
    height, width, channels = pixels.shape
    kind = 0 if channels == 1 else 2  # grey, or red, green and blue
    header = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    lines = b"".join(b"\0" + row.tobytes() for row in pixels)  # each without a filter
    png = b"\x89PNG\r\n\x1a\n"
    parts = {b"IHDR": header, b"tRNS": bytes(2 * channels), b"IDAT": zlib.compress(lines, 9)}
    for name, content in (*parts.items(), (b"IEND", b"")):
        check = zlib.crc32(name + content)
        png += struct.pack(">I", len(content)) + name + content + struct.pack(">I", check)
    return "data:image/png;base64," + base64.b64encode(png).decode()
