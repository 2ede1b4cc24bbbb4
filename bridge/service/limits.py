"""Asks for as many descriptors as the daemon may have: each stream takes two."""

from __future__ import annotations

import contextlib
import resource
from typing import Final

#: More than any machine's agents will ever ask for.
ENOUGH: Final = 65_536


def allow_descriptors() -> int:
    """Raise the number of descriptors that this process may open; return what it is now.

    A shell usually allows 1,024 and a process more where it asks for it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = ENOUGH if hard == resource.RLIM_INFINITY else min(hard, ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):  # macOS has a limit below the one it tells
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
