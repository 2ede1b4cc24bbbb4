"""Who stands at the port is told, with what to do about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from bridge.doctor.judging.door import Door, Listener, judge
from bridge.service import pidfile, probe
from bridge.service.record import Record
from tests.doctor.rows import PORT, levels, only, said, troubles

PID_FILE = "/home/me/.local/run/bridge.pid"
V4, V6 = "127.0.0.1", "::1"


def record(**changed: Any) -> Record:
    """Return the record of a daemon on the port, as *changed*."""
    fields: dict[str, Any] = {"pid": 42, "port": PORT, "instance": "i", "version": "1.0"}
    return Record(**{**fields, **changed})


def ours(address: str) -> Listener:
    """Return the daemon of the record as a listener."""
    return Listener(address, listens=True, process=(42, "bridge"), user="me")


FREE = Door(
    port=PORT,
    listeners=(Listener(V4, listens=False), Listener(V6, listens=False)),
    pid_file=PID_FILE,
    kind=pidfile.FREE,
    record=None,
    code=probe.NOT_RUNNING,
    line="not running: start it with: bridge",
    health={},
    version="1.0",
)
SERVING = replace(
    FREE,
    listeners=(ours(V4), ours(V6)),
    kind=pidfile.HELD,
    record=record(),
    code=probe.SERVING,
    line=f"serving on 127.0.0.1:{PORT}, pid 42",
)


def health(**row: object) -> Mapping[str, object]:
    """Return a health document with one login."""
    return {"providers": {"kimi": {"auth": "oauth", **row}}}


def test_serving() -> None:
    """A daemon that serves at both addresses is well."""
    finding = only(judge(SERVING))
    assert finding.level == "ok"
    assert finding.text == f"serving on 127.0.0.1:{PORT}, pid 42, version 1.0"


def test_serving_where_the_system_names_nobody() -> None:
    """Without owners of sockets (macOS), the daemon's own proof counts."""
    listeners = (Listener(V4, listens=True), Listener(V6, listens=True))
    assert levels(judge(replace(SERVING, listeners=listeners))) == ["ok"]
    assert levels(judge(replace(SERVING, listeners=listeners[:1]))) == ["ok"]
    lying = replace(SERVING, listeners=listeners, code=probe.STRANGE, line="it is not ours: no")
    assert levels(judge(lying)) == ["fail", "fail", "fail"]


def test_a_socket_unit_that_waits() -> None:
    """A port that systemd holds for the first request is well, with no daemon behind it yet."""
    finding = only(judge(replace(FREE, listeners=(), idle=True)))
    assert finding.level == "ok"
    assert finding.text == f"systemd holds port {PORT} and starts bridge at the first request"
    left = replace(FREE, listeners=(), idle=True, kind=pidfile.STALE)
    assert levels(judge(left)) == ["ok", "warn"]


def test_a_socket_that_a_service_manager_opened() -> None:
    """The daemon is known by its proof, and by sharing the holder of the socket that has it."""
    holder = (1, "systemd")
    listeners = tuple(
        Listener(address, listens=True, process=holder, user="me") for address in (V4, V6)
    )
    assert levels(judge(replace(SERVING, listeners=listeners))) == ["ok"]
    dead = replace(SERVING, listeners=listeners, code=probe.STRANGE, line="no answer: x")
    assert levels(judge(dead)) == ["fail", "fail", "fail"]


def test_serving_but_a_login_is_needed() -> None:
    """A daemon that needs a login serves nevertheless."""
    assert levels(judge(replace(SERVING, code=probe.LOGIN_NEEDED))) == ["ok"]


def test_nobody() -> None:
    """Nobody at the port is odd, and bridge is how to mend that."""
    finding = only(judge(FREE))
    assert (finding.level, finding.subject) == ("warn", "daemon")
    assert "start it: bridge" in finding.mend


STRANGERS = [
    (
        Listener(V4, listens=True, process=(7, "nginx"), user="www"),
        f"127.0.0.1:{PORT} is taken by nginx (pid 7, user www)",
        "stop it: kill 7; or choose another port (server.port)",
    ),
    (
        Listener(V6, listens=True, process=(7, "nginx"), user="www"),
        f"[::1]:{PORT} is taken by nginx (pid 7, user www)",
        "stop it: kill 7; or choose another port (server.port)",
    ),
    (
        Listener(V4, listens=True, user="root"),
        f"127.0.0.1:{PORT} is taken by a program of user root",
        "have it stopped there, or choose another port (server.port)",
    ),
    (
        Listener(V4, listens=True),
        f"127.0.0.1:{PORT} is taken by another program, which the system does not name",
        "stop it, or choose another port (server.port)",
    ),
    (
        Listener(V4, listens=True, process=(7, "python3"), user="me", old=True),
        f"127.0.0.1:{PORT} is taken by the old kimi-proxy (pid 7)",
        "stop it: kimi-proxy --stop",
    ),
    (
        Listener(V4, listens=True, old=True),
        f"127.0.0.1:{PORT} is taken by the old kimi-proxy",
        "stop it: kimi-proxy --stop",
    ),
]


@pytest.mark.parametrize(("stranger", "text", "mend"), STRANGERS)
def test_strangers(stranger: Listener, text: str, mend: str) -> None:
    """A stranger fails, at either address, and is named as far as the system does."""
    finding = only(judge(replace(FREE, listeners=(stranger,), code=probe.STRANGE)))
    assert (finding.level, finding.text, finding.mend) == ("fail", text, mend)


def test_a_stranger_beside_the_daemon() -> None:
    """Ours on IPv4 and a stranger on IPv6: both are told."""
    stranger = Listener(V6, listens=True, process=(7, "node"), user="me")
    findings = list(judge(replace(SERVING, listeners=(ours(V4), stranger))))
    assert levels(findings) == ["fail", "ok"]
    assert "[::1]" in findings[0].text


def test_the_daemon_on_one_address_only() -> None:
    """A daemon that is not at [::1], where this machine has that, is to be started anew."""
    silent = replace(SERVING, listeners=(ours(V4), Listener(V6, listens=False)))
    finding = only(troubles(judge(silent)))
    assert (finding.level, finding.mend) == ("warn", "bridge --restart")
    assert "[::1]" in finding.text


def test_a_daemon_on_another_port() -> None:
    """A daemon of before the change of the port is told with both numbers."""
    moved = replace(SERVING, record=record(port=5555), listeners=FREE.listeners)
    finding = only(troubles(judge(moved)))
    assert "port 5555, and port 18462 is configured" in finding.text
    assert finding.mend == "bridge --restart"


@pytest.mark.parametrize("version", ["0.9", ""])
def test_a_daemon_of_another_version(version: str) -> None:
    """After an upgrade the old daemon goes on until it is started anew."""
    finding = only(troubles(judge(replace(SERVING, record=record(version=version)))))
    assert (finding.level, finding.mend) == ("warn", "bridge --restart")
    assert f"version {version or '?'}, this command is 1.0" in finding.text


def test_a_daemon_that_does_not_answer() -> None:
    """A daemon that hangs fails with what the check says of it."""
    line = f"bridge (pid 42) does not answer on 127.0.0.1:{PORT}: try: bridge --restart"
    finding = only(judge(replace(SERVING, code=probe.STRANGE, line=line)))
    assert finding.level == "fail"
    assert finding.text == f"bridge (pid 42) does not answer on 127.0.0.1:{PORT}"
    assert finding.mend == "bridge --restart"


@pytest.mark.parametrize(
    ("kind", "held", "level", "words"),
    [
        (pidfile.STALE, record(), "warn", "left behind"),
        (pidfile.STALE, None, "warn", "left behind"),
        (pidfile.FOREIGN, record(host="attic"), "warn", "bridge on attic (pid 42)"),
        (pidfile.UNREADABLE, None, "fail", "no file of yours"),
        (pidfile.HELD, None, "warn", "a start is under way"),
    ],
)
def test_pid_files(kind: str, held: Record | None, level: str, words: str) -> None:
    """A PID file that is not a living daemon's is told, with what to do."""
    findings = list(judge(replace(FREE, kind=kind, record=held)))
    assert (findings[0].level, findings[0].subject) == (level, "PID file")
    assert words in findings[0].text
    assert PID_FILE in said(findings)


def test_what_the_daemon_alone_knows() -> None:
    """A login that the server refused, or that could not be renewed, is told from /health."""
    refused = health(ready=False, problem="the login has ended: run: bridge login")
    refused_alive = {**SERVING.health, **refused}
    assert levels(judge(replace(SERVING, health=refused_alive))) == ["ok"]  # no such login at all
    ended = health(ready=False, expires_in_seconds=-5, problem="the login has ended: run: it")
    finding = only(troubles(judge(replace(SERVING, health=ended))))
    assert (finding.level, finding.mend) == ("fail", "run: it")
    assert finding.text == "it says of kimi: the login has ended"
    shaky = health(ready=True, expires_in_seconds=99, problem="TimeoutError")
    finding = only(troubles(judge(replace(SERVING, health=shaky))))
    assert (finding.level, "bridge login kimi" in finding.mend) == ("warn", True)


@pytest.mark.parametrize("health", [{}, {"providers": 3}, {"providers": {"kimi": []}}])
def test_a_health_document_that_says_nothing(health: Mapping[str, object]) -> None:
    """A document of another version is no crash."""
    assert levels(judge(replace(SERVING, health=health))) == ["ok"]
