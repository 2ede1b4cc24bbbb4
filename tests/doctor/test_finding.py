"""A finding says how bad it is, and always how to mend it."""

from __future__ import annotations

import pytest

from bridge.doctor.finding import Finding, Level, fail, ok, told, warn, worst
from bridge.errors import CredentialUnreadable


def test_what_is_wrong_has_a_mend() -> None:
    """Nobody is told what is wrong without what to do; good news needs none."""
    for level in (Level.WARN, Level.FAIL):
        with pytest.raises(ValueError, match="mend"):
            Finding(level, "port", "it is taken", "")
    with pytest.raises(ValueError, match="mend"):
        Finding(Level.OK, "port", "it is ours", "do something")
    assert ok("port", "it is ours").mend == ""


def test_worst() -> None:
    """The worst of all counts, whatever the order; of nothing, all is well."""
    good, odd, bad = ok("a", "b"), warn("a", "b", "c"), fail("a", "b", "c")
    assert worst([]) is Level.OK
    assert worst([good, odd, good]) is Level.WARN
    assert worst([bad, odd, good]) is Level.FAIL


def test_told() -> None:
    """An error is taken apart into what is wrong and what to do; a silent one is helped out."""
    error = CredentialUnreadable("/x is corrupt: restore it, or run: bridge login")
    assert told(error, "pray") == ("/x is corrupt", "restore it, or run: bridge login")
    assert told(CredentialUnreadable("it broke"), "pray") == ("it broke", "pray")
