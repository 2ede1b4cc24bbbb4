"""TLS goes wrong, and names lead nowhere: before either server nothing is sent and nothing spent.

The relays carry ciphertext; servers with good and bad certificates stand behind them.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, Self

import pytest

from tests.faults.certificates import Authority
from tests.faults.relay import Line, Relay, Script
from tests.faults.scene import Scene
from tests.faults.scripts import answer, shakes_hands
from tests.faults.verdict import Own, Served

pytestmark = [pytest.mark.process, pytest.mark.timeout(60)]

NAME: Final = "localhost"
#: What a server says that hears TLS and speaks none.
PLAIN: Final = answer(400, b"The plain HTTP request was sent to HTTPS port")
#: A fatal alert (handshake_failure), as RFC 8446 section 6 writes it.
ALERT: Final = b"\x15\x03\x03\x00\x02\x02\x28"
#: A year of a certificate that began in 2020 is over.
YEAR: Final = 365


class Safe(Scene):
    """A scene in which both servers speak TLS, in as many ways as there are *contexts*."""

    def __init__(self, folder: Path, pace: float, name: str = NAME) -> None:
        super().__init__(folder, pace=pace, stern=True)
        good, other = Authority(folder / "good"), Authority(folder / "other")
        self.variables["SSL_CERT_FILE"] = str(good.file)
        self._contexts = {
            "good": good.vouches(name),
            "untrusted": other.vouches(name),
            "expired": good.vouches(name, days=YEAR),
            "for-another-name": good.vouches("elsewhere.test"),
            "of-an-old-protocol": _old(good.vouches(name, days=36499)),
        }
        self.fronts: dict[str, dict[str, Relay]] = {}
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        try:
            return super().__enter__()
        except BaseException:
            self._stack.close()
            raise

    def __exit__(self, *reason: object) -> None:
        super().__exit__(*reason)
        self._stack.close()

    def servers(self) -> Mapping[str, str]:
        """Put the servers of every kind behind the relays; the good ones count at first."""
        for name, url in super().servers().items():
            self.fronts[name] = {
                kind: self._stack.enter_context(Relay(url, context))
                for kind, context in self._contexts.items()
            }
        return {name: fronts["good"].url for name, fronts in self.fronts.items()}

    def ways(self) -> Mapping[str, str]:
        """Return the variables that lead the daemon through TLS."""
        ports = {name: relay.port for name, relay in self.relays.items()}
        return {
            "KIMI_CODE_OAUTH_HOST": f"https://{NAME}:{ports['authorization']}",
            "KIMI_CODE_BASE_URL": f"https://{NAME}:{ports['upstream']}/coding/v1",
        }

    def leads(self, server: str, kind: str) -> None:
        """Let connections to *server* lead to the one of that *kind*."""
        self.relays[server].heals(self.fronts[server][kind].url)


def _old(context: ssl.SSLContext) -> ssl.SSLContext:
    with pytest.warns(DeprecationWarning, match="deprecated"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


async def never_shakes_hands(line: Line) -> None:
    """Take what begins TLS, and never say a word."""
    await line.holds()


BAD: Final = {
    "untrusted": "certificate",
    "expired": "expired",
    "for-another-name": "certificate",
    "of-an-old-protocol": "",
}
HANDSHAKES: Final[dict[str, Script]] = {
    "cut-FIN": shakes_hands(b"", "FIN"),
    "cut-RST": shakes_hands(b"", "RST"),
    "cut-in-the-middle": shakes_hands(b"\x16\x03\x03\x00\x7a\x02\x00", "FIN"),
    "refused-by-an-alert": shakes_hands(ALERT, "FIN"),
    "answered-in-plain": shakes_hands(PLAIN, "FIN"),
    "never-answered": never_shakes_hands,
}


@pytest.fixture(name="scene", scope="module")
def _scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Safe]:
    """One daemon for all, ten times as fast."""
    with Safe(tmp_path_factory.mktemp("tls"), pace=10) as scene:
        scene.start()
        yield scene
        scene.ends_well()


@pytest.mark.parametrize("kind", BAD)
def test_a_certificate_of_the_upstream(scene: Safe, kind: str) -> None:
    """The agent is told what is wrong with it, and where another authority would be named."""
    scene.logs_in()
    before = len(scene.upstream.requests())
    scene.leads("upstream", kind)
    trusted = kind == "of-an-old-protocol"
    saw = Own(502, BAD[kind], again=trusted).looks(scene)
    assert len(scene.upstream.requests()) == before
    scene.leads("upstream", "good")
    seconds = scene.recovers("upstream")
    scene.is_unharmed()
    scene.holds(f"upstream: TLS certificate {kind}", saw, seconds)


@pytest.mark.parametrize("kind", BAD)
def test_a_certificate_of_the_authorization_server(scene: Safe, kind: str) -> None:
    """No refresh token leaves, and agents are told to come back."""
    asked = scene.authorization.state()
    scene.leads("authorization", kind)
    scene.logs_in(lives=300)
    Served().looks(scene)
    scene.logs_in(lives=-1)
    saw = Own(503, BAD[kind]).looks(scene)
    assert scene.authorization.state()["refreshes"] == asked["refreshes"]
    scene.leads("authorization", "good")
    seconds = scene.recovers("authorization")
    scene.is_unharmed()
    scene.holds(f"authorization server: TLS certificate {kind}", saw, seconds)


@pytest.mark.parametrize("case", HANDSHAKES)
def test_a_handshake_with_the_upstream(scene: Safe, case: str) -> None:
    """The agent is told that it may try again."""
    scene.logs_in()
    scene.suffers("upstream", HANDSHAKES[case])
    saw = Own(502).looks(scene)
    seconds = scene.recovers("upstream")
    scene.is_unharmed()
    scene.holds(f"upstream: TLS handshake {case}", saw, seconds)


@pytest.mark.parametrize("case", HANDSHAKES)
def test_a_handshake_with_the_authorization_server(scene: Safe, case: str) -> None:
    """Nothing is spent, and agents are told to come back."""
    scene.suffers("authorization", HANDSHAKES[case])
    scene.logs_in(lives=-1)
    saw = Own(503).looks(scene)
    seconds = scene.recovers("authorization")
    scene.is_unharmed()
    scene.holds(f"authorization server: TLS handshake {case}", saw, seconds)
