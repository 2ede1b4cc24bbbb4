"""Where a URL leads is told, and nothing of it that could be a secret."""

from __future__ import annotations

import pytest

from bridge.doctor.judging.address import Leads, target
from tests.doctor.rows import PORT, URL

SECRET = "sk-SECRET"

CASES = [
    (f"{URL}/kimi", Leads.HERE, "kimi", f"127.0.0.1:{PORT}"),
    (f"{URL}", Leads.HERE, "", f"127.0.0.1:{PORT}"),
    (f"{URL}/kimi/v1/", Leads.HERE, "kimi", f"127.0.0.1:{PORT}"),
    (f"http://localhost:{PORT}/glm", Leads.HERE, "glm", f"localhost:{PORT}"),
    (f"http://[::1]:{PORT}/glm", Leads.HERE, "glm", f"[::1]:{PORT}"),
    (f"https://127.0.0.1:{PORT}/kimi", Leads.NEXT_DOOR, "kimi", f"127.0.0.1:{PORT}"),
    ("http://127.0.0.1:3456", Leads.NEXT_DOOR, "", "127.0.0.1:3456"),
    ("http://localhost/kimi", Leads.NEXT_DOOR, "kimi", "localhost"),
    ("https://api.anthropic.com", Leads.AWAY, "", "api.anthropic.com"),
    ("https://me:sk-SECRET@gate.example:8443/x?key=sk-SECRET", Leads.AWAY, "", "gate.example:8443"),
    ("https://127.0.0.1.evil.example/kimi", Leads.AWAY, "", "127.0.0.1.evil.example"),
    ("127.0.0.1:18462", Leads.NOWHERE, "", "something that is no URL"),
    ("ftp://127.0.0.1:18462", Leads.NOWHERE, "", "something that is no URL"),
    ("http://[::1", Leads.NOWHERE, "", "something that is no URL"),
    ("http://host:sk-SECRET/", Leads.NOWHERE, "", "something that is no URL"),
    ("http://sk SECRET/", Leads.NOWHERE, "", "something that is no URL"),
    ("http://a\x1b[31m/", Leads.NOWHERE, "", "something that is no URL"),
    ("sk-SECRET", Leads.NOWHERE, "", "something that is no URL"),
    ("", Leads.NOWHERE, "", "something that is no URL"),
    (None, Leads.NOWHERE, "", "something that is no URL"),
    (7, Leads.NOWHERE, "", "something that is no URL"),
]


@pytest.mark.parametrize(("url", "leads", "segment", "shown"), CASES)
def test_target(url: object, leads: Leads, segment: str, shown: str) -> None:
    """Each URL leads here, next door, away or nowhere; only host and port are shown."""
    found = target(url, PORT)
    assert (found.leads, found.segment, found.shown) == (leads, segment, shown)
    assert SECRET not in repr(found)
