"""Sessions that are taken up again."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest

from bridge.wire.connection import Connection
from bridge.wire.tls import REMEMBERED, Context
from tests.fakes.tls import CertificateAuthority
from tests.wire.farside import FarSide, asked, connected


async def resumed(far: FarSide, context: ssl.SSLContext) -> bool:
    """Carry an exchange over a new connection; say whether that took up a session."""
    async with connected(far, context) as (_, connection, line):
        answering = asyncio.create_task(line.answers())
        await asked(connection)
        await answering
        return bool(_tls(connection).session_reused)


def _tls(connection: Connection) -> ssl.SSLObject:
    tls = connection._tls
    assert tls is not None
    return tls


async def test_a_session_is_taken_up_again(tmp_path: Path) -> None:
    """The first connection shakes hands in full, the next ones do not; another context does."""
    authority = CertificateAuthority(tmp_path)
    context, other = Context(), Context()
    for each in (context, other):
        each.load_verify_locations(authority.file)
    async with FarSide(authority.server_context) as far:
        assert [await resumed(far, context) for _ in range(3)] == [False, True, True]
        assert await resumed(far, other) is False


async def test_a_stranger_is_not_believed(tmp_path: Path) -> None:
    """Names and authorities are verified as ``ssl`` itself would."""
    context = Context()
    assert (context.check_hostname, context.verify_mode) == (True, ssl.CERT_REQUIRED)
    authority = CertificateAuthority(tmp_path)
    async with FarSide(authority.server_context) as far:
        with pytest.raises(ssl.SSLCertVerificationError):
            await resumed(far, context)


def test_names_are_remembered_up_to_a_number() -> None:
    """What is remembered is bounded, and nothing is where the server gave no session."""

    class Given:
        session: object = type("Session", (), {"has_ticket": True})()

        def __init__(self, name: str) -> None:
            self.server_hostname = name

    context = Context()
    for number in range(REMEMBERED + 3):
        context.remember(Given(f"host-{number}"))  # type: ignore[arg-type]
    assert len(context._sessions) == 3
    nothing = Given("nothing")
    nothing.session = None
    context.remember(nothing)  # type: ignore[arg-type]
    assert "nothing" not in context._sessions
