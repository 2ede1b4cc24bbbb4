"""Asks from outside whether the daemon serves: ``bridge --check``, before each launch of an agent.

It learns the port from the PID file and believes an answer only once the listener has proved to be
ours: the kernel names our user as its owner (where it can tell), and the answer carries the random
instance that only readers of the PID file know. It sends no key. It knows nothing of providers but
the name it passes on, and only what costs next to nothing is imported: the whole command has to
stay near a bare interpreter's start (``_socket``: see ``bridge.peer``).
"""

from __future__ import annotations

import _socket
import os
from time import monotonic  # noqa: TID251 - bridge.clock imports asyncio, four times the check

from bridge import peer
from bridge.service.pidfile import FOREIGN, FREE, HELD, UNREADABLE, look

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from bridge.service.record import Record

# The exit codes of `bridge --check` (LSB, and one of ours).
SERVING: Final = 0
DEAD: Final = 1
NOT_RUNNING: Final = 3
STRANGE: Final = 4
LOGIN_NEEDED: Final = 150

PATIENCE_SECONDS: Final = 1.0
MAX_BYTES: Final = 64 * 1024


class Answer:
    """What a probe found: an exit *code*, a *line* that says it, and the health *document*.

    *idle* tells a socket unit that waits for its first request from a port where nobody is.
    """

    __slots__ = ("code", "document", "idle", "line")

    def __init__(self, code: int, line: str, document: bytes = b"", *, idle: bool = False) -> None:
        self.code = code
        self.line = line
        self.document = document
        self.idle = idle


def probe(
    path: str,
    default_port: int,
    provider: str | None = None,
    patience: float = PATIENCE_SECONDS,
) -> Answer:
    """Find out whether the daemon of the PID file at *path* serves, within *patience* seconds.

    Without a daemon, *default_port* tells whether somebody else is there. With a *provider*, the
    daemon is also asked whether that one's credential is usable. Never raises for what it finds.
    """
    kind, record = look(path)
    if kind != HELD:
        return _without_daemon(path, kind, record, default_port, patience)
    if record is None:
        return Answer(STRANGE, f"bridge is just starting ({path} is being written): try again")
    if record.stage:
        # Where its manager holds the port, too, a connection would start the next one after it.
        return Answer(
            STRANGE,
            f"bridge (pid {record.pid}) is {record.stage}, its streams may end first: "
            "to drop them, run: bridge --stop",
        )
    return _ask(record, provider, patience)


def _without_daemon(
    path: str, kind: str, record: Record | None, port: int, patience: float
) -> Answer:
    from bridge.service.idle import idle_socket  # noqa: PLC0415 - who serves need not pay for it

    if idle_socket(port):
        line = f"not running, but systemd holds 127.0.0.1:{port} and starts it at the first request"
        return Answer(NOT_RUNNING, line, idle=True)
    is_somebody = _accepts(port, patience)
    if kind == UNREADABLE:
        what = f"{path} cannot be read, or is no file of yours"
        if is_somebody:
            return Answer(STRANGE, f"127.0.0.1:{port} answers, but whose is it? {what}")
        return Answer(DEAD, f"not running, and {what}")
    elsewhere = ""
    if kind == FOREIGN and record is not None:
        elsewhere = f"bridge on {record.host} (pid {record.pid}) holds {path}"
    if is_somebody:
        whose = f"it is not bridge of this machine or container; {elsewhere}"
        whose = whose if elsewhere else "it is not bridge: to learn who, run: bridge"
        return Answer(STRANGE, f"127.0.0.1:{port} answers, but {whose}")
    if kind == FREE:
        return Answer(NOT_RUNNING, "not running: start it with: bridge")
    if elsewhere:
        return Answer(NOT_RUNNING, f"not running here; {elsewhere}")
    return Answer(DEAD, f"not running, but {path} was left behind: start it with: bridge")


def _accepts(port: int, patience: float) -> bool:
    connection = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
    connection.settimeout(patience)
    try:
        connection.connect(("127.0.0.1", port))
    except TimeoutError:
        return True  # its queue is full: somebody is there
    except (OSError, OverflowError):  # refused, or no port number at all
        return False
    finally:
        connection.close()
    return True


def _ask(record: Record, provider: str | None, patience: float) -> Answer:
    here = record.place()
    deadline = monotonic() + patience
    family = _socket.AF_INET6 if ":" in record.address else _socket.AF_INET
    connection = _socket.socket(family, _socket.SOCK_STREAM)
    connection.settimeout(patience)
    try:
        connection.connect((record.address, record.port))
        owner = peer.listener(record.address, record.port)
        if owner is not None and owner.uid != os.geteuid():
            return Answer(STRANGE, f"{here} belongs to another user (uid {owner.uid})")
        connection.sendall(_request(here, provider))
        reply = _receive(connection, deadline)
    except TimeoutError:
        return Answer(
            STRANGE, f"bridge (pid {record.pid}) does not answer on {here}: try: bridge --restart"
        )
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        return Answer(
            STRANGE,
            f"bridge (pid {record.pid}) runs, but {here} fails ({reason}): it may be "
            "starting or stopping; else try: bridge --restart",
        )
    finally:
        connection.close()
    return _judge(reply, record, provider)


def _request(host: str, provider: str | None) -> bytes:
    query = f"?provider={_quoted(provider)}" if provider else ""
    return f"GET /health{query} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()


def _quoted(name: str) -> str:
    """Return *name* percent-encoded; ``urllib`` would double the cost of the whole check."""
    return "".join(chr(b) if chr(b).isalnum() and b < 128 else f"%{b:02X}" for b in name.encode())


def _receive(connection: _socket.socket, deadline: float) -> bytes:
    """Return one whole answer, or what there was of it when the other side closed."""
    reply = b""
    while not _whole(reply) and len(reply) < MAX_BYTES:
        left = deadline - monotonic()
        if left <= 0:  # one byte now and then is no answer either
            raise TimeoutError
        connection.settimeout(left)
        received = connection.recv(MAX_BYTES)
        if not received:
            break
        reply += received
    return reply


def _whole(reply: bytes) -> bool:
    head, end, body = reply.partition(b"\r\n\r\n")
    length = _headers(head).get("content-length", "")
    return bool(end) and length.isdecimal() and len(length) < 9 and len(body) >= int(length)


def _headers(head: bytes) -> dict[str, str]:
    lines = head.decode("latin-1").split("\r\n")[1:]
    fields = (line.partition(":") for line in lines)
    return {name.lower(): value.strip() for name, _, value in fields}


def _judge(reply: bytes, record: Record, provider: str | None) -> Answer:
    here = record.place()
    head, _, document = reply.partition(b"\r\n\r\n")
    headers = _headers(head)
    if headers.get("x-bridge-instance") != record.instance:
        return Answer(STRANGE, f"what answers on {here} is not the bridge of pid {record.pid}")
    if head[:7] != b"HTTP/1." or head[8:12] != b" 200" or not _whole(reply):
        return Answer(STRANGE, f"bridge (pid {record.pid}) answers nonsense: try: bridge --restart")
    serving = f"serving on {here}, pid {record.pid}"
    ready = headers.get("x-bridge-ready", "unknown")
    if provider is None or ready == "yes":
        return Answer(SERVING, serving, document)
    if ready == "no":
        line = f"{serving}, but {provider} needs a login or key: run: bridge up {provider}"
    else:
        line = f"{serving}, but it cannot say whether {provider} is usable: see: bridge providers"
    return Answer(LOGIN_NEEDED, line, document)
