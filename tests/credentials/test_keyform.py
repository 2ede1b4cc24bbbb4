"""What can be a key and what cannot: everything a person puts in its place within five minutes."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.credentials.keyform import LONGEST, is_foreign, is_placeholder, mistake

#: Keys as providers give them, and as local servers are content with.
GOOD = [
    "sk-kimi-u2Vx7qLr0Bd9",
    "sk-cp-AbC1_23-xYz",
    "eyJhbGciOiJSUzI1NiJ9.eyJHcm91cE5hbWUiOiJhIn0.c2lnbmF0dXJl",
    "sk-or-v1-0123456789abcdef",
    "0a1b2c3d4e5f.AbCdEfGhIjKlMnOp",
    "csk-4f9wd8",
    "YWJjPT1kZWY==",
    "sk-1234",
    "1234",
    "ollama",
    "lm-studio",
    "minimax",
    "sk-test-minimax",
]
PLACEHOLDERS = [
    "your-api-key",
    "YOUR_API_KEY_HERE",
    "your-api-key-1",
    "yourApiKey",
    "sk-xxx",
    "sk-ant-xxxxx",
    "sk-or-v1-xxxxxxxx",
    "sk-your-key",
    "sk-",
    "sk-...",
    "sk-cp-***ab12",
    "sk-cp-ab…12",
    "xxx",
    "000000",
    "changeme",
    "change-me",
    "dummy",
    "dummy-key",
    "fake_token",
    "example",
    "placeholder",
    "none",
    "null",
    "undefined",
    "TODO",
    "REPLACE_ME",
    "insert-your-token-here",
    "MINIMAX_API_KEY",
    "your-minimax-key",
    "<your key>",
    "<key>",
    "{{ key }}",
    "${MINIMAX_API_KEY}",
    "$MINIMAX_API_KEY",
    "%MINIMAX_API_KEY%",
    "[key]",
    "...",
    "***",
]


@pytest.mark.parametrize("key", GOOD)
def test_a_key(key: str) -> None:
    """A key is opaque: whatever may be one is let through as it is."""
    assert mistake(key, ["minimax"]) == ""


@pytest.mark.parametrize("text", PLACEHOLDERS)
def test_a_placeholder(text: str) -> None:
    """What templates, tutorials and consoles show where the key belongs is refused."""
    assert is_placeholder(text, ["minimax"])
    assert mistake(text, ["minimax"]) == "holds a placeholder and no key"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty"),
        ("one\ntwo", "has 2 lines, and a key is one"),
        ("one\r\n\r\ntwo", "has 3 lines, and a key is one"),
        ("# my key\nsk-ab12cd", "has 2 lines, and a key is one"),
        ("export MINIMAX_API_KEY=sk-ab12cd", "holds an assignment and not the key alone"),
        ("MINIMAX_API_KEY = sk-ab12cd", "holds an assignment and not the key alone"),
        ('"sk-ab12cd"', "has quotation marks around the key"),
        ("'sk-ab12cd'", "has quotation marks around the key"),
        ("\u201csk-ab12cd\u201d", "has quotation marks around the key"),
        ("Bearer sk-ab12cd", 'begins with "Bearer", which is not part of the key'),
        ("bearer\tsk-ab12cd", 'begins with "Bearer", which is not part of the key'),
        ("sk-ab 12cd", "has a character that no key has"),
        ("sk-ab\x0012cd", "has a character that no key has"),
        ("sk-ab\x1b12cd", "has a character that no key has"),
        ("sk-ab\u200b12cd", "has a character that no key has"),
        ("sk-\u00e4b12cd", "has a character that no key has"),
        ("\ufffds\x00k\x00", "has a character that no key has"),
        ("a1" * LONGEST, "is longer than any key"),
    ],
)
def test_no_key(text: str, reason: str) -> None:
    """What cannot be a key is told by its reason, and the reason shows nothing of it."""
    told = mistake(text)
    assert told.startswith(reason)
    assert "ab12cd" not in told


@given(st.text(alphabet=string.ascii_letters + string.digits, min_size=24, max_size=80))
def test_no_random_key_is_a_placeholder(key: str) -> None:
    """What a generator draws from letters and digits passes, behind any usual beginning."""
    if len(set(key)) > 8:
        for prefix in ("", "sk-", "sk-kimi-", "sk-or-v1-", "csk-"):
            assert mistake(prefix + key) == ""


@given(st.text(max_size=60))
def test_what_passes_can_be_carried(text: str) -> None:
    """A text that is no mistake is one run of visible ASCII, fit for any header."""
    if not mistake(text):
        assert text
        assert all("!" <= character <= "~" for character in text)


def test_a_foreign_beginning() -> None:
    """A key is foreign where the usual beginnings are known and it has none of them."""
    assert is_foreign("sk-ant-ab12", ["sk-kimi-"])
    assert not is_foreign("sk-kimi-ab12", ["sk-kimi-"])
    assert not is_foreign("sk-api-ab12", ["sk-cp-", "sk-api-"])
    assert not is_foreign("sk-ant-ab12", [])
