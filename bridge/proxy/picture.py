"""Says how many tokens a picture takes, by its width and height.

Pure. Anthropic's documentation has it so: one token for 750 pixels, after a picture whose long edge
has more than 1568 has been made smaller, and about 1600 at most.
"""

from __future__ import annotations

import base64
import math
import struct
from typing import Final

#: What the largest picture takes, and one of which nothing is known.
MOST: Final = 1600

_LONG_EDGE: Final = 1568
_PIXELS: Final = 750
#: Width and height stand at the front, in a JPEG behind its preview and colour profile.
_FRONT: Final = 256 * 1024
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_WITHOUT_LENGTH: Final = frozenset({0x01, *range(0xD0, 0xD9)})
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def tokens(encoded: str) -> int:
    """Return about how many tokens the picture takes that *encoded* is, in base64."""
    try:
        found = size(base64.b64decode(encoded[:_FRONT] + "=="))
    except (ValueError, struct.error):
        return MOST
    if found is None or not all(found):
        return MOST
    shrink = min(1.0, _LONG_EDGE / max(found))
    return min(MOST, math.ceil(found[0] * found[1] * shrink**2 / _PIXELS))


def size(data: bytes) -> tuple[int, int] | None:
    """Return width and height of the PNG, GIF, WebP or JPEG that *data* begins, if it is one.

    Raises ``struct.error`` where it ends too early.
    """
    if data.startswith(_PNG):
        return struct.unpack_from(">II", data, 16)
    if data.startswith((b"GIF87a", b"GIF89a")):
        return struct.unpack_from("<HH", data, 6)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return _webp(data)
    return _jpeg(data) if data.startswith(b"\xff\xd8") else None


def _webp(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    if kind == b"VP8X":
        low, high, low2, high2 = struct.unpack_from("<HBHB", data, 24)
        return (high << 16 | low) + 1, (high2 << 16 | low2) + 1
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    return None


def _jpeg(data: bytes) -> tuple[int, int] | None:
    at = 2
    while True:
        start, marker = struct.unpack_from(">BB", data, at)
        if start != 0xFF:
            return None
        if marker in _FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        if marker == 0xFF:  # a fill byte
            at += 1
        elif marker in _WITHOUT_LENGTH:
            at += 2
        else:
            (length,) = struct.unpack_from(">H", data, at + 2)
            at += 2 + length
