"""Fills in the unit files that bridge ships: text in, text out.

Pure. A word in capitals between two ``@`` is a gap. A line ``# @NAME@`` of its own opens a block
that can be left out, with the comment that follows, up to ``# @END@``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Final

_GAP: Final = re.compile(r"@([A-Z]+)@")
_OPENING: Final = re.compile(r"# @([A-Z]+)@")
_END: Final = "# @END@"


def filled(text: str, gaps: Mapping[str, str], blocks: Collection[str] = ()) -> str:
    """Return *text* with its *gaps* filled and only those of its blocks that *blocks* names.

    Its first comment, which explains the gaps, is left out. A gap on a line of its own, as
    ``# @NAME@``, becomes the lines that fill it, often none. Raises ``KeyError`` for a gap that
    nothing fills.
    """
    _, _, body = text.partition("\n\n")
    lines = (_GAP.sub(lambda gap: gaps[gap[1]], line) for line in _kept(body, gaps, blocks))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)) + "\n"


def _kept(body: str, gaps: Mapping[str, str], blocks: Collection[str]) -> Iterator[str]:
    is_left_out = False
    for line in body.splitlines():
        opening = _OPENING.fullmatch(line)
        if line == _END:
            is_left_out = False
        elif opening and opening[1] in gaps:
            yield from gaps[opening[1]].splitlines()
        elif opening:
            is_left_out = opening[1] not in blocks
        elif not is_left_out:
            yield line
