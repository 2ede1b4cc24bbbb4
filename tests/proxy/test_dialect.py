"""Failures in the client's language."""

from __future__ import annotations

import json

from bridge.errors import CredentialBusy, LoginRequired, Refused
from bridge.providers import Dialect
from bridge.proxy.dialect import document, error_headers


def test_each_dialect_has_its_own_shape() -> None:
    """Anthropic's error is marked as one; OpenAI's has a code."""
    anthropic = document(Dialect.ANTHROPIC, "authentication_error", "log in", "LoginRequired")
    assert json.loads(anthropic) == {
        "type": "error",
        "error": {"type": "authentication_error", "message": "log in"},
    }
    openai = document(Dialect.OPENAI, "authentication_error", "log in", "LoginRequired")
    assert json.loads(openai) == {
        "error": {"type": "authentication_error", "message": "log in", "code": "login_required"}
    }


def test_a_client_is_told_not_to_repeat_what_cannot_succeed() -> None:
    """Without hope: ``x-should-retry: false``. With: ``retry-after`` in whole seconds."""
    hopeless = error_headers(LoginRequired("no login"))
    assert (b"x-should-retry", b"false") in hopeless
    hopeful = error_headers(CredentialBusy("locked", retry_after=0.2))
    assert (b"retry-after", b"1") in hopeful
    assert not any(name == b"x-should-retry" for name, _ in hopeful)


def test_a_refused_upgrade_says_what_is_spoken() -> None:
    """RFC 9110 section 15.5.22 demands an Upgrade header beside status 426."""
    assert (b"upgrade", b"HTTP/1.1") in error_headers(Refused("no", status=426))
