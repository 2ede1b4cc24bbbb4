"""What fuzzing has found, kept as it was found."""

from __future__ import annotations

import json

import pytest

from bridge.errors import LoginExpired
from bridge.oauth.grant import DeviceGrant, GrantReply, Wait, described
from bridge.providers import OAuth
from bridge.proxy.framing import Garbled, Requests

#: What an authorization server, or whoever stands in its place, may write where a code belongs.
WORDS = ("\x1b[2J", "two\nlines", "REFRESHsecret-4f1d0c7a9b2e", "x" * 200)


@pytest.mark.parametrize("words", WORDS)
def test_only_codes_of_a_server_are_shown(words: str) -> None:
    """Neither a terminal's commands nor a token get into a message, a log or ``bridge login``."""
    reply = GrantReply(503, json.dumps({"error": words}).encode())
    flow = DeviceGrant(OAuth(host="https://auth.example", client_id="c"), {})
    flow.started(GrantReply(200, b'{"device_code": "d", "user_code": "U", "expires_in": 60}'), 0)
    step = flow.heard(reply, 0)
    assert isinstance(step, Wait)
    with pytest.raises(LoginExpired) as expired:
        flow.heard(reply, 59)
    assert words[:20] not in f"{step.reason} {described(reply)} {expired.value}"


def test_two_hosts_before_chunks_are_garbled() -> None:
    """As without chunks; the guard refuses them today, so that nothing gets through."""
    head = b"POST / HTTP/1.1\r\nHost: a\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    with pytest.raises(Garbled, match="Host"):
        Requests().feed(head)
