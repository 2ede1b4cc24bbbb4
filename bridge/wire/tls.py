"""Speaks TLS to upstreams, and takes up again the sessions that they have given out.

A connection that resumes a session (RFC 8446 section 2.2) needs no certificates and half the work.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Final, Self

#: How many names are remembered with their sessions.
REMEMBERED: Final = 64


class Context(ssl.SSLContext):
    """A client's context, verifying names and certificates against the system's authorities.

    Sessions are its own: a context with other authorities resumes nothing of this one.
    """

    def __new__(cls) -> Self:
        """Return a context as ``ssl.create_default_context`` makes one, without key log files."""
        context = super().__new__(cls, ssl.PROTOCOL_TLS_CLIENT)
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        return context

    def __init__(self) -> None:
        self._sessions: dict[str, ssl.SSLSession] = {}

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,  # noqa: FBT001, FBT002 - the signature of the base class
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """Return the TLS of one connection, with the session of its server if one is known."""
        if session is None and isinstance(server_hostname, str):
            session = self._sessions.get(server_hostname)
        return super().wrap_bio(incoming, outgoing, server_side, server_hostname, session)

    def remember(self, connection: ssl.SSLObject) -> None:
        """Keep the session of *connection* for the next to the same server.

        TLS 1.3 gives it out after the handshake, with the first data at the earliest.
        """
        session, name = connection.session, connection.server_hostname
        if session is None or not session.has_ticket or name is None:
            return
        if len(self._sessions) >= REMEMBERED:
            self._sessions.clear()
        self._sessions[name] = session


class Authorities:
    """Whose word counts for a certificate: the *usual* context's, for some places *own* ones."""

    def __init__(
        self, usual: ssl.SSLContext, own: Mapping[tuple[str, int], ssl.SSLContext] | None = None
    ) -> None:
        self.usual = usual
        self.own = own or {}

    def of(self, place: tuple[str, int]) -> ssl.SSLContext:
        """Return the settings of TLS with *place*, a host and a port."""
        return self.own.get(place, self.usual)
