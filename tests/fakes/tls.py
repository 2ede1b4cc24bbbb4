"""An authority made in the test, a server it vouches for, and a proxy that tunnels to it.

For what leaves the machine in life: https to a name, through the proxy of a company that signs
with a certificate authority of its own. Here all of it stays on loopback.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import ssl
from pathlib import Path
from typing import Final, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.fakes.loopback import LoopbackServer, _Peer

NAME: Final = "auth.example.test"
_PEM: Final = serialization.Encoding.PEM


class CertificateAuthority:
    """An authority whose certificate is in *folder*; it vouches for :data:`NAME` and 127.0.0.1."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.file = folder / "authority.pem"
        self._server = folder / "server.pem"
        key, server_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        authority = _certificate("authority", key, "authority", key, authority=True)
        server = _certificate(NAME, server_key, "authority", key, authority=False)
        self.file.write_bytes(authority.public_bytes(_PEM))
        private = server_key.private_bytes(
            _PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        self._server.write_bytes(private + server.public_bytes(_PEM))

    @property
    def server_context(self) -> ssl.SSLContext:
        """The TLS settings of a server that this authority vouches for."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._server)
        return context


def _certificate(
    subject: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    authority: bool,
) -> x509.Certificate:
    """Return a certificate for *subject*, good for a century around now."""
    names = [x509.DNSName(NAME), x509.DNSName("localhost")]
    year = dt.timedelta(days=365)
    begin = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    public = key.public_key()
    identifier = x509.SubjectKeyIdentifier.from_public_key(issuer_key.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(_named(subject))
        .issuer_name(_named(issuer))
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + 100 * year)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier),
            critical=False,
        )
        .sign(issuer_key, hashes.SHA256())
    )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


class TlsServer(LoopbackServer):
    """A server on loopback that speaks TLS, as a base for those that say more."""

    context: ssl.SSLContext

    async def comes_back(self) -> None:
        """Listen, with TLS."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Peer(self), "127.0.0.1", self._port, ssl=self.context
        )
        self._port = self._server.sockets[0].getsockname()[1]


class TunnelProxy:
    """An HTTP proxy on loopback that knows CONNECT only, and sends every name to *port*.

    *tunnels* keeps the heads of what it was asked. With *status* other than 200 it refuses, and
    while *silent* it takes the request and answers nothing.
    """

    def __init__(self, port: int) -> None:
        self.tunnels: list[str] = []
        self.status = 200
        self.silent = False
        self._port = port
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """The URL for ``HTTPS_PROXY``, with a name and a password in it."""
        assert self._server is not None
        return f"http://user:PROXYsecret@127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._opened, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *reason: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def _opened(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._tunnel(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _tunnel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(ConnectionError):
            self.tunnels.append((await reader.readuntil(b"\r\n\r\n")).decode())
            if self.silent:
                await reader.read()
                return
            writer.write(f"HTTP/1.1 {self.status} Whatever\r\n\r\n".encode())
            await writer.drain()
            if self.status != 200:
                return
            there, back = await asyncio.open_connection("127.0.0.1", self._port)
            with contextlib.closing(back):
                await asyncio.gather(_copied(reader, back), _copied(there, writer))


async def _copied(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
