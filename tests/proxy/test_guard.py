"""Who may come in, as tables."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bridge.errors import Refused
from bridge.proxy.guard import Clients, Policy, check_caller, check_origin
from bridge.proxy.head import Head, Pair

OURS = Policy(
    port=18462,
    uid=1000,
    clients="same-user",
    key="k3y",
    hosts=frozenset({"bridge.local", "box:80"}),
)
HOST = ("Host", "127.0.0.1:18462")


def head(*headers: Pair) -> Head:
    """Return a request with *headers*."""
    return Head("POST", "/v1/messages", headers)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:18462", "localhost:18462", "LOCALHOST:18462", "[::1]:18462", "bridge.local",
     "bridge.local:18462", "box:80", "box:80:18462"],
)  # fmt: skip
def test_our_own_names_pass(host: str) -> None:
    """Loopback with our port, and what the configuration names."""
    check_origin(head(("Host", host)), OURS)


@pytest.mark.parametrize(
    "hosts",
    [
        [], [""], ["127.0.0.1"], ["localhost"], ["127.0.0.1:80"], ["127.0.0.1:18463"],
        ["evil.example:18462"], ["127.0.0.1.evil.example:18462"], ["localhost.:18462"],
        ["127.0.0.1:18462@evil.example"], ["127.1:18462"], ["0.0.0.0:18462"], ["::1:18462"],
        ["box"], ["127.0.0.1:18462 "], ["127.0.0.1:18462", "127.0.0.1:18462"],
    ],
)  # fmt: skip
def test_any_other_host_is_misdirected(hosts: list[str]) -> None:
    """Anything but exactly one Host of ours is answered 421 and says what to use."""
    with pytest.raises(Refused, match="use http://127") as caught:
        check_origin(head(*(("Host", host) for host in hosts)), OURS)
    assert caught.value.status == 421
    assert caught.value.retry_after is None


def test_port_80_needs_no_port() -> None:
    """On the port that clients leave out, they may leave it out."""
    check_origin(head(("Host", "localhost")), replace(OURS, port=80))


@pytest.mark.parametrize(
    "headers",
    [
        [("Origin", "https://evil.example")],
        [("Origin", "null")],
        [("origin", "http://127.0.0.1:18462")],
        [("Origin", "")],
        [("Sec-Fetch-Site", "cross-site")],
        [("sec-fetch-site", "same-site")],
        [("Sec-Fetch-Site", "none"), ("Sec-Fetch-Site", "cross-site")],
    ],
)
def test_a_web_page_is_refused(headers: list[Pair]) -> None:
    """Any Origin, our own too, and any fetch from another site is answered 403."""
    with pytest.raises(Refused, match="came from a web page") as caught:
        check_origin(head(HOST, *headers), OURS)
    assert caught.value.status == 403


@pytest.mark.parametrize(
    "headers",
    [
        [("anthropic-dangerous-direct-browser-access", "true")],
        [("Sec-Fetch-Site", "none")],
        [("Sec-Fetch-Site", "Same-Origin")],
        [("Sec-Fetch-Mode", "cors")],
    ],
)
def test_a_program_passes(headers: list[Pair]) -> None:
    """What Claude Code and Node send without being a web page is no reason to refuse."""
    check_origin(head(HOST, *headers), OURS)


@pytest.mark.parametrize(
    ("uid", "words"), [(1001, "another user"), (0, "another user"), (None, "does not say")]
)
def test_another_user_is_refused_even_with_the_key(uid: int | None, words: str) -> None:
    """Only our own user passes; where the kernel says nothing, nobody does."""
    with pytest.raises(Refused, match=words) as caught:
        check_caller(head(("x-bridge-key", "k3y")), OURS, uid)
    assert caught.value.status == 403


def test_our_own_user_needs_no_key() -> None:
    """The kernel's word is enough."""
    check_caller(head(), OURS, 1000)


@pytest.mark.parametrize(
    "headers",
    [
        [("x-bridge-key", "k3y")],
        [("X-Api-Key", "k3y")],
        [("Authorization", "Bearer k3y")],
        [("authorization", "bearer  k3y ")],
        [("x-api-key", "other"), ("authorization", "Bearer other"), ("x-bridge-key", "k3y")],
    ],
)
@pytest.mark.parametrize("uid", [1000, 1001, None])
def test_the_key_opens_in_three_headers(headers: list[Pair], uid: int | None) -> None:
    """In key mode the key is the proof, in any of its headers, for any user who has it."""
    check_caller(head(*headers), replace(OURS, clients="key"), uid)


def test_the_callers_own_credential_is_no_wrong_key() -> None:
    """Beside the key in ``x-bridge-key`` a passthrough provider's own may stand, in any style."""
    own = [("Authorization", "Bearer sk-ant-oat01-own"), ("x-api-key", "sk-ant-api03-own")]
    check_caller(head(*own, ("X-Bridge-Key", "k3y")), replace(OURS, clients="key"), None)
    with pytest.raises(Refused, match="send the key of the key file as `x-bridge-key`") as caught:
        check_caller(head(*own), replace(OURS, clients="key"), None)
    assert caught.value.status == 401
    assert "sk-ant" not in str(caught.value)


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ([], "no caller key"),
        ([("authorization", "Basic k3y")], "no caller key"),
        ([("x-api-key", "k3")], "a wrong caller key"),
        ([("x-api-key", "k3y ")], "a wrong caller key"),
        ([("x-bridge-key", "clé\udce9")], "a wrong caller key"),
        ([("cookie", "k3y")], "no caller key"),
    ],
)
def test_without_the_key_nothing_opens(headers: list[Pair], words: str) -> None:
    """A missing or wrong key is answered 401, even to our own user, and the key is not told."""
    with pytest.raises(Refused, match=words) as caught:
        check_caller(head(*headers), replace(OURS, clients="key"), 1000)
    assert caught.value.status == 401
    assert "k3y" not in str(caught.value)


@pytest.mark.parametrize("shown", ["", "k3y"])
def test_an_empty_key_opens_nothing(shown: str) -> None:
    """A policy whose key was never made lets nobody in by it."""
    with pytest.raises(Refused):
        check_caller(head(("x-api-key", shown)), replace(OURS, clients="key", key=""), 1000)


@pytest.mark.parametrize("uid", [0, 1001, None])
def test_any_lets_everybody_in(uid: int | None) -> None:
    """That is what it says."""
    anybody: Clients = "any"
    check_caller(head(), replace(OURS, clients=anybody), uid)


def test_a_policy_does_not_show_its_key() -> None:
    """Its representation may end up in a log."""
    assert "k3y" not in repr(OURS)


@pytest.mark.parametrize("dest", ["document", "iframe", "image", "script", "", "empty, image"])
@pytest.mark.parametrize("clients", ["same-user", "key", "any"])
def test_what_a_browser_loads_is_no_program(dest: str, clients: Clients) -> None:
    """A page that was opened by its address, and the icon that a browser fetches for one: 403.

    Chromium says ``none`` or ``same-origin`` of their site, also where a web page had it opened.
    """
    for site in ("none", "same-origin"):
        shown = head(HOST, ("Sec-Fetch-Site", site), ("Sec-Fetch-Dest", dest), ("x-api-key", "k3y"))
        check_origin(shown, OURS)
        with pytest.raises(Refused, match="a browser that opens a page"):
            check_caller(shown, replace(OURS, clients=clients), OURS.uid)


def test_a_program_may_say_that_it_fetches() -> None:
    """Node's ``fetch`` sends a mode, others an empty destination: no page can be made of those."""
    check_caller(head(HOST, ("sec-fetch-mode", "cors")), OURS, OURS.uid)
    check_caller(head(HOST, ("sec-fetch-dest", "empty")), OURS, OURS.uid)
