"""An authority of the tests' own that also vouches for what it should not."""

from __future__ import annotations

import datetime as dt
import ssl
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_PEM: Final = serialization.Encoding.PEM
_BEGIN: Final = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
_CENTURY: Final = dt.timedelta(days=36500)


class Authority:
    """A certificate authority whose own certificate is in *file*."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.file = folder / "authority.pem"
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named("authority of the tests")
        own = self._begun(self._name, self._key, _CENTURY)
        own = own.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.file.write_bytes(own.sign(self._key, hashes.SHA256()).public_bytes(_PEM))

    def vouches(self, name: str, *, days: int = 36500) -> ssl.SSLContext:
        """Return the settings of a TLS server called *name*, good for *days* since 2020."""
        key = ec.generate_private_key(ec.SECP256R1())
        begun = self._begun(_named(name), key, dt.timedelta(days=days))
        names = x509.SubjectAlternativeName([x509.DNSName(name)])
        certificate = begun.add_extension(names, critical=False).sign(self._key, hashes.SHA256())
        private = key.private_bytes(
            _PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        file = self._folder / f"{name}-{days}.pem".replace("*", "any")
        file.write_bytes(private + certificate.public_bytes(_PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context

    def _begun(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, lifetime: dt.timedelta
    ) -> x509.CertificateBuilder:
        ours, theirs = self._key.public_key(), key.public_key()
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(theirs)
            .serial_number(x509.random_serial_number())
            .not_valid_before(_BEGIN)
            .not_valid_after(_BEGIN + lifetime)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(theirs), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ours), critical=False)
        )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
