"""How large a picture is, and what it costs."""

from __future__ import annotations

import base64
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.proxy.picture import MOST, size, tokens

#: A picture of 3 by 2 pixels in every format, as Pillow writes it.
SMALL = {
    "PNG": (
        "iVBORw0KGgoAAAANSUhEUgAAAAMAAAACCAIAAAASFvFNAAAAFUlEQVR4nGM8wcXFwMDAwMDAxAADABByAOAp"
        "6i43AAAAAElFTkSuQmCC"
    ),
    "GIF": "R0lGODdhAwACAIEAAMgKCgAAAAAAAAAAACwAAAAAAwACAAAIBgABCBwYEAA7",
    "WebP, lossy": (
        "UklGRjwAAABXRUJQVlA4IDAAAADQAQCdASoDAAIAAUAmJaACdLoB+AADsAD+9hNf/izkYjs83/4E78Cd+BO/"
        "8AAAAAA="
    ),
    "WebP, lossless": "UklGRh4AAABXRUJQVlA4TBEAAAAvAkAAAAdQhSJXof+BiOh/AAA=",
    "WebP, extended": (
        "UklGRlgAAABXRUJQVlA4WAoAAAAYAAAAAgAAAQAAQUxQSAcAAAAAAAAAAAAAAFZQOCAYAAAAMAEAnQEqAwAC"
        "AAFAJiWkAANwAP79NmgARVhJRgoAAABJSSoACAAAAAAA"
    ),
}


def png(width: int, height: int) -> str:
    """Return what begins a PNG of that size, in base64."""
    head = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", width, height)
    return base64.b64encode(head).decode()


def jpeg(width: int, height: int, *before: bytes) -> bytes:
    """Return what begins a JPEG of that size, behind the segments *before*."""
    frame = b"\xff\xc2" + struct.pack(">HBHHB", 17, 8, height, width, 3)
    return b"\xff\xd8" + b"".join(before) + frame


@pytest.mark.parametrize("encoded", SMALL.values(), ids=SMALL.keys())
def test_every_format_tells_its_size(encoded: str) -> None:
    """Width and height are read from what stands at the front."""
    assert size(base64.b64decode(encoded)) == (3, 2)
    assert tokens(encoded) == 1


def test_a_jpeg_tells_its_size_behind_everything_else() -> None:
    """Preview, tables, fill bytes and markers without a length are passed over."""
    application = b"\xff\xe1" + struct.pack(">H", 9000) + bytes(8998)
    tables = b"\xff\xc4" + struct.pack(">H", 4) + b"\xff\xc0"
    data = jpeg(800, 600, application, b"\xff\xff", tables, b"\xff\x01")
    assert size(data) == (800, 600)
    assert tokens(base64.b64encode(data).decode()) == 640


@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [(1, 1, 1), (200, 200, 54), (1000, 1000, 1334), (1092, 1092, 1590), (1568, 1568, MOST),
     (4000, 200, 164), (100_000, 1, 1)],
)  # fmt: skip
def test_a_picture_costs_by_its_pixels(width: int, height: int, expected: int) -> None:
    """As Anthropic's documentation has it: a token for 750, made smaller beyond 1568 a side."""
    assert tokens(png(width, height)) == expected


@pytest.mark.parametrize(
    "encoded",
    [
        "",
        "x",
        "no base64 é",
        "aGVsbG8=",
        png(0, 5),
        png(3, 2)[:24],
        "/9j/",
        "/9gA",
        "UklGRgAAAABXRUJQVlA5IA==",
    ],
)
def test_what_cannot_be_read_costs_most(encoded: str) -> None:
    """Too much is the safe side: nobody runs into the end of a window."""
    assert tokens(encoded) == MOST


@given(st.binary(max_size=200), st.sampled_from(["", "iVBORw0KGgo", "/9j/", "UklGRgAAAABXRUJQ"]))
def test_no_data_is_too_odd(data: bytes, start: str) -> None:
    """Whatever it is, it costs something between nothing and the most."""
    assert 1 <= tokens(start + base64.b64encode(data).decode()) <= MOST
