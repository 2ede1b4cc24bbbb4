"""Names lead nowhere, and then they do; the resolver is the system's own, with a file of ours."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest

from tests.faults.test_tls import Safe
from tests.faults.verdict import Own, Served

pytestmark = [pytest.mark.process, pytest.mark.timeout(60)]

#: What the servers are called, in a domain that RFC 6761 leaves to tests.
NAMES: Final = {"authorization": "auth.faults.test", "upstream": "api.faults.test"}
_MOUNT: Final = (
    'mount --bind "$0" /etc/hosts && mount --bind "$1" /etc/nsswitch.conf && shift && exec "$@"'
)


class Named(Safe):
    """A scene whose daemon knows only the names of a file that the test writes."""

    def __init__(self, folder: Path, pace: float) -> None:
        self.hosts, switch = folder / "hosts", folder / "nsswitch.conf"
        self.knows(*NAMES)
        switch.write_text("hosts: files\npasswd: files\ngroup: files\n")
        super().__init__(folder, pace, name="*.faults.test")
        self.namespace = ["unshare", "--mount", "sh", "-c", _MOUNT, str(self.hosts), str(switch)]

    def ways(self) -> Mapping[str, str]:
        """Return the variables that lead the daemon to names."""
        ports = {name: relay.port for name, relay in self.relays.items()}
        return {
            "KIMI_CODE_OAUTH_HOST": f"https://{NAMES['authorization']}:{ports['authorization']}",
            "KIMI_CODE_BASE_URL": f"https://{NAMES['upstream']}:{ports['upstream']}/coding/v1",
        }

    def knows(self, *servers: str) -> None:
        """Let the names of *servers* be known, and no others."""
        lines = ["127.0.0.1 localhost", *(f"127.0.0.1 {NAMES[name]}" for name in servers)]
        self.hosts.write_text("\n".join([*lines, ""]))  # in place: the mount follows the file


@pytest.fixture(name="scene", scope="module")
def _scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Named]:
    """One daemon for all, ten times as fast, in a mount namespace of its own."""
    allowed = ["unshare", "--mount", "true"]
    if os.geteuid() or subprocess.run(allowed, check=False).returncode:
        pytest.skip("only root may put a hosts file of its own in the place of the system's")
    with Named(tmp_path_factory.mktemp("names"), pace=10) as scene:
        scene.start()
        yield scene
        scene.ends_well()


def test_the_upstream_has_no_name(scene: Named) -> None:
    """The agent is told so, and a name that is known again counts at once."""
    scene.logs_in()
    scene.knows("authorization")
    scene.relays["upstream"].refuses()  # who has refused is looked up anew
    assert scene.looks().status == 502
    scene.relays["upstream"].heals()
    saw = Own(502, "its name is not known").looks(scene)
    scene.knows("upstream", "authorization")
    seconds = scene.recovers("upstream")
    scene.is_unharmed()
    scene.holds("upstream: DNS failure", saw, seconds)


def test_the_authorization_server_has_no_name(scene: Named) -> None:
    """Unnoticed while the token lives; then agents are told to come back, and nothing is spent."""
    scene.knows("upstream")
    scene.logs_in(lives=300)
    Served().looks(scene)
    scene.logs_in(lives=-1)
    saw = Own(503, "cannot be reached").looks(scene)
    scene.knows("upstream", "authorization")
    seconds = scene.recovers("authorization")
    scene.is_unharmed()
    scene.holds("authorization server: DNS failure", saw, seconds)
