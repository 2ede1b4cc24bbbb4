"""Bytes near good ones: cut, doubled, exchanged, and with the odd thing put in."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final

from hypothesis import strategies as st

#: What parsers disagree about, and what ends a line, a string or a number.
ODD: Final = (
    *(b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\0", b"\t", b" ", b"\x85", b"\xff", b"\xc3\xa9"),
    *(b"%2e", b"%252e", b"..", b"/", b"//", b"\\", b";", b"#", b"?", b"@", b":", b","),
    *(b'"', b"'", b"{", b"}", b"[", b"]", b"=", b"-1", b"0", b"1e999", b"9" * 30, b"null", b"NaN"),
    *(b"chunked", b"gzip, chunked", b"Content-Length: 1\r\n", b"Transfer-Encoding: chunked\r\n"),
    *(
        b"HTTP/1.0",
        b"HTTP/1.1",
        b"Connection: close\r\n",
        b"\\u0000",
        b"\\ud800",
        b"Upgrade: x\r\n",
    ),
)


def changed(data: bytes, chance: random.Random) -> bytes:
    """Return *data* with a few changes drawn from *chance*."""
    for _ in range(chance.randint(1, 4)):
        at, length = chance.randrange(len(data) + 1), chance.choice([0, 1, 1, 4, 30])
        middle = data[at : at + length]
        new = chance.choice(
            [b"", middle * 2, chance.choice(ODD), chance.randbytes(1), middle[::-1], middle.upper()]
        )
        data = data[:at] + new + data[at + length :]
    return data


def mutated(seeds: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Return a strategy of what one of *seeds* may become."""
    return st.builds(
        lambda seed, number: changed(seed, random.Random(number)),
        st.sampled_from(list(seeds)),
        st.integers(0, 1 << 60),
    )
