"""Decides who may come in: which Host, from no web page, and as whom.

Pure but for what is passed in: whose connection it is was asked of the kernel when it was
accepted. Loopback is open to every user and every web page of the machine; the credential behind
this door is not theirs.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from typing import Final, Literal

from bridge.errors import Refused
from bridge.proxy.head import Head

#: How a caller proves itself; see ``clients`` in the configuration.
Clients = Literal["same-user", "key", "any"]

_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "[::1]"})
_UNSUSPICIOUS: Final = frozenset({"none", "same-origin"})


@dataclass(frozen=True, slots=True)
class Policy:
    """Who may come in.

    *port* is ours, *hosts* are further names that ``Host`` may have, in lower case: ``NAME`` bare
    or with our port, ``NAME:PORT`` exactly. *uid* is the user we run as, *key* the caller key.
    """

    port: int
    uid: int
    clients: Clients
    key: str = field(default="", repr=False)
    hosts: frozenset[str] = frozenset()


def check_origin(head: Head, policy: Policy) -> None:
    """Let *head* pass if it names us and no web page sent it.

    Raises ``Refused``: 421 for another ``Host`` (DNS rebinding makes any name lead to loopback),
    403 for a web page.
    """
    hosts = head.values("host")
    if len(hosts) != 1 or not _is_ours(hosts[0].lower(), policy):
        said = f"{hosts[0][:80]!r}" if len(hosts) == 1 else "missing or repeated"
        raise Refused(
            f"the Host header is {said}, which is not this bridge: "
            f"use http://127.0.0.1:{policy.port}, or add the name to server.hosts",
            status=421,
        )
    if head.has(b"origin") or (head.has(b"sec-fetch-site") and not _is_unsuspicious(head)):
        raise Refused("this request came from a web page: bridge serves programs only")


def check_caller(head: Head, policy: Policy, peer_uid: int | None) -> None:
    """Let *head* pass if its sender is a program that may use the credential.

    *peer_uid* is the user whose connection it is, ``None`` where the kernel did not say. Raises
    ``Refused``: 403 for what a browser loads and for another user (even with the key), 401 without
    the key where it is asked.
    """
    if head.has(b"sec-fetch-dest") and head.value("sec-fetch-dest") != "empty":
        # An address that was typed, or led to by one, says "none" of its site. What a provider
        # answers would be a page of our own origin then, and its scripts would be let in.
        raise Refused(
            "this request came from a browser that opens a page: bridge serves programs only"
        )
    if policy.clients == "any":
        return
    if policy.clients == "same-user":
        _check_user(policy, peer_uid)
        return
    shown = _shown_keys(head)
    if not any(_is_key(candidate, policy.key) for candidate in shown):
        raise Refused(
            "this request shows "
            + ("a wrong" if any(shown) else "no")
            + " caller key: use what `bridge env` prints, or send the key of the key file "
            "as `x-bridge-key`",
            status=401,
            kind="authentication_error",
        )


def _check_user(policy: Policy, peer_uid: int | None) -> None:
    if peer_uid is None:
        raise Refused(
            "the system does not say which user this request came from: connect anew, "
            'or set server.clients = "key"'
        )
    if peer_uid != policy.uid:
        raise Refused(
            "this request came from another user of this machine: bridge serves only the user "
            "who runs it; run a bridge of your own"
        )


def _is_ours(host: str, policy: Policy) -> bool:
    name = host.removesuffix(f":{policy.port}")
    if name == host and policy.port != 80:
        return host in policy.hosts
    return name in _LOOPBACK or name in policy.hosts or host in policy.hosts


def _is_unsuspicious(head: Head) -> bool:
    sites = {value.strip().lower() for value in head.values("sec-fetch-site")}
    return sites <= _UNSUSPICIOUS


def _shown_keys(head: Head) -> list[str]:
    bearers = (value.partition(" ") for value in head.values("authorization"))
    return [
        *head.values("x-bridge-key"),
        *head.values("x-api-key"),
        *(rest.strip() for scheme, _, rest in bearers if scheme.lower() == "bearer"),
    ]


def _is_key(candidate: str, key: str) -> bool:
    """Compare in constant time; an empty *key* opens nothing."""
    same = hmac.compare_digest(candidate.encode("utf-8", "surrogateescape"), key.encode())
    return same and bool(key)
