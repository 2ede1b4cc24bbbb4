"""How a test steers an authorization server that runs in another process: verbs below ``/admin/``.

Everything is a GET with a query, answered with a JSON document: by default the counters.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from tests.fakes.authorization import AuthorizationServer

_SWITCHES: Final = frozenset(
    {"stern", "keeps_interval", "hold_before", "hold_after", "loses_before"}
)
_NUMBERS: Final = frozenset(
    {"expires_in", "interval", "delay", "lose", "slow_down", "auto_approve"}
)


async def steer(server: AuthorizationServer, verb: str, query: Mapping[str, str]) -> object:
    """Do what *verb* says and return what it answers.

    ======================= ==================================================================
    ``state``               the counters
    ``seed``                a token answer, of a new login without a device flow
    ``approve deny expire`` decide the login with ``user_code``, or the latest
    ``valid``               raises ``PermissionError`` unless ``token`` is a living access token
    ``revoke``              refuse the living access ``token`` from now on
    ``set``                 change attributes by name; ``omit`` takes names with commas
    ``answer``              give ``status`` and ``body`` to the next ``times`` requests
    ``arrived``             answers once a token request is held
    ``release``             let go what is held, and hold no more
    ======================= ==================================================================

    Raises ``KeyError`` for other verbs, and for whatever is missing in *query*.
    """
    user_code = query.get("user_code", "")
    verbs: dict[str, Callable[[], object]] = {
        "state": lambda: None,
        "seed": server.seed,
        "approve": lambda: server.approve(user_code),
        "deny": lambda: server.deny(user_code),
        "expire": lambda: server.expire(user_code),
        "valid": lambda: _check(server, query["token"]),
        "revoke": lambda: server.revoke(query["token"]),
        "set": lambda: _set(server, query),
        "answer": lambda: _answer(server, query),
        "arrived": lambda: _arrived(server),
        "release": server.release,
    }
    answer = verbs[verb]()
    if inspect.isawaitable(answer):
        answer = await answer
    return state(server) if answer is None else answer


def state(server: AuthorizationServer) -> dict[str, Any]:
    """Return the counters of *server*; *revoked* counts families, that is lost logins."""
    return {
        "refreshes": server.refreshes,
        "refused": server.refused,
        "spent_presented": server.spent_presented,
        "device_flows": server.device_flows,
        "polls": len(server.polls),
        "pending": [c.user_code for c in server.codes.values() if c.approved is None],
        "families": len(server.families),
        "revoked": sum(family.revoked for family in server.families),
    }


def _check(server: AuthorizationServer, access: str) -> None:
    if not server.valid(access):
        raise PermissionError("no such living token")


async def _arrived(server: AuthorizationServer) -> None:
    await server.request_arrived()


def _answer(server: AuthorizationServer, query: Mapping[str, str]) -> None:
    times = int(query.get("times", "1"))
    for _ in range(times):
        server.next_answer(int(query["status"]), query.get("body", "").encode())


def _set(server: AuthorizationServer, query: Mapping[str, str]) -> None:
    for name, text in query.items():
        if name == "omit":
            server.omit = set(filter(None, text.split(",")))
        elif name in _SWITCHES:
            setattr(server, name, text.lower() in {"1", "true"})
        elif name in _NUMBERS:
            number = float(text)
            setattr(server, name, int(number) if number.is_integer() else number)
        else:
            raise KeyError(name)
