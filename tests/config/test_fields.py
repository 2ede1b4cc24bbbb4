"""What the row of a provider may say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.config.fields import (
    ANTHROPIC,
    HEADERS,
    KEY,
    KIMI_ANTHROPIC,
    KIMI_OPENAI,
    OAUTH_HOST,
    OPENAI,
    PREFIXES,
    QUIRK_TABLE,
    name_mistake,
    shown_place,
)
from bridge.config.kinds import Kind, Mismatch
from bridge.providers import QUIRKS, RESERVED_NAMES, KeyPlace
from bridge.proxy.head import CREDENTIALS, HOP_BY_HOP, OWN_CREDENTIALS, RESET


@pytest.mark.parametrize(
    ("kind", "written", "base"),
    [
        (ANTHROPIC, "https://h/api/", "https://h/api"),
        (ANTHROPIC, "https://h/v1", "https://h"),
        (ANTHROPIC, "https://h/v1/v1//", "https://h"),
        (ANTHROPIC, "https://h/v2", "https://h/v2"),
        (ANTHROPIC, "", ""),
        (OPENAI, "https://h/v1/", "https://h/v1"),
        (OPENAI, "https://h", "https://h"),
        (KIMI_OPENAI, "https://h/coding", "https://h/coding/v1"),
        (KIMI_OPENAI, "https://h/coding/v1/", "https://h/coding/v1"),
        (KIMI_OPENAI, "", ""),
        (KIMI_ANTHROPIC, "https://h/coding/v1", "https://h/coding"),
        (OAUTH_HOST, "https://h/", "https://h"),
    ],
)
def test_base(kind: Kind[str], written: str, base: str) -> None:
    """A base has no slash at its end; an Anthropic one has no version, Kimi's other one has it."""
    assert kind.read(written) == base
    assert kind.read(base) == base


def test_a_login_has_a_host() -> None:
    """A surface can be taken away with an empty text, the host of a login cannot."""
    with pytest.raises(Mismatch):
        OAUTH_HOST.read("")


@pytest.mark.parametrize(
    ("kind", "written", "remark"),
    [
        (ANTHROPIC, "https://h/v1", "its /v1 is left out"),
        (ANTHROPIC, "https://h", ""),
        (OPENAI, "https://h/", "requests go to https://h/chat/completions: add /v1"),
        (OPENAI, "https://h/v1/", ""),
        (OPENAI, "https://h/paas/v4", ""),
        (OPENAI, "https://h/v1beta", ""),
        (OPENAI, "", ""),
        (KIMI_ANTHROPIC, "https://h/v1", ""),
    ],
)
def test_remark(kind: Kind[str], written: str, remark: str) -> None:
    """A base that may not be meant as it stands is remarked on, a usual one is not."""
    said = kind.remark(written)
    assert said.startswith(remark)
    assert bool(said) == bool(remark)


@pytest.mark.parametrize(
    ("written", "places"),
    [
        ({"env": "A_1"}, (KeyPlace(env="A_1"),)),
        ({"file": "~/k"}, (KeyPlace(file="~/k"),)),
        ({"command": ["pass", "show", "k"]}, (KeyPlace(command=("pass", "show", "k")),)),
        ([{"env": "A"}, {"file": "/k"}], (KeyPlace(env="A"), KeyPlace(file="/k"))),
    ],
)
def test_key(written: object, places: tuple[KeyPlace, ...]) -> None:
    """A key has one place or a list of them, in the order in which they are looked at."""
    assert KEY.read(written) == places


def test_a_command_is_shown_without_its_arguments() -> None:
    """What stands behind a program may be a secret, so that only the program is shown."""
    place = KeyPlace(command=("curl", "-H", "hunter2"))
    assert shown_place(place) == {"command": ["curl", "***", "***"]}
    assert KEY.show((place,)) == {"command": ["curl", "***", "***"]}
    both = KEY.show((place, KeyPlace(file="/k")))
    assert both == [{"command": ["curl", "***", "***"]}, {"file": "/k"}]


def test_headers_that_would_not_go_out_are_refused() -> None:
    """Exactly the headers that the way out never takes from a row are refused in a row."""
    for name in HOP_BY_HOP | RESET | OWN_CREDENTIALS | CREDENTIALS:
        with pytest.raises(Mismatch):
            HEADERS.read({name.title(): "x"})
    assert HEADERS.read({"X-Team": "blue", "user-agent": ""}) == {
        "X-Team": "blue",
        "user-agent": "",
    }
    assert HEADERS.show({"X-Team": "blue", "user-agent": ""}) == {"X-Team": "***", "user-agent": ""}


def test_quirks() -> None:
    """Every quirk that the program knows can be said to hold or not to."""
    table = {name: index % 2 == 0 for index, name in enumerate(QUIRKS)}
    assert QUIRK_TABLE.read(table) == table
    assert QUIRK_TABLE.show(QUIRK_TABLE.read(table)) == table


def test_prefixes() -> None:
    """A prefix is a word without white space."""
    assert PREFIXES.read(["sk-", "eyJ"]) == ("sk-", "eyJ")
    for wrong in ("sk-", ["sk -"], [""], [1]):
        with pytest.raises(Mismatch):
            PREFIXES.read(wrong)


@pytest.mark.parametrize("name", ["a", "glm", "my-gateway", "gpt_4", "0x", "a" * 40])
def test_names(name: str) -> None:
    """A name is what is one plain segment of a path and of a shell function's name."""
    assert name_mistake(name) == ""


@pytest.mark.parametrize(
    "name", ["", "A", "-a", "a-", "a.b", "a b", "a/b", "\u00e9", "a" * 41, "a\n", *RESERVED_NAMES]
)
def test_no_names(name: str) -> None:
    """A name that a path or a shell could take for something else is refused."""
    assert "choose another" in name_mistake(name)


@given(st.text())
def test_any_name(name: str) -> None:
    """Whatever is taken for a name is safe in a URL and in a shell."""
    assert (
        name_mistake(name)
        or (name.isascii() and name.replace("-", "_").isidentifier())
        or (name[0].isdigit())
    )
