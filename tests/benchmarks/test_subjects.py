"""What is measured: how it is started, what it sees of ours, and that it is ended."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path

import pytest

from benchmarks.subjects import TOKEN, Subject, Upstream, aiohttp, bridge, direct, nginx
from tests.ports import free_port

PLAIN = Upstream(4001)
SECURE = Upstream(4002, "/authority.pem")


def server(folder: Path, program: str) -> Subject:
    """Return a subject that runs a *program* in Python, which is told its port."""
    port = free_port()
    return Subject("server", port, [sys.executable, "-c", program, str(port)], folder)


LISTENS = """\
import signal, socket, sys
with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as listening:
    print("listens", flush=True)
    signal.sigwait([signal.SIGUSR1])
"""


def test_direct() -> None:
    """Nothing is in the way: no process, and the client brings the credential itself."""
    way = direct(PLAIN, Path("/nowhere"))
    assert (way.port, way.words, way.credential, way.pids) == (4001, [], TOKEN, [])


def test_nginx(tmp_path: Path) -> None:
    """It does by hand what bridge does: another credential, no buffers, kept connections."""
    folder = tmp_path / "nginx"
    way = nginx(PLAIN, folder)
    text = (folder / "nginx.conf").read_text()
    for line in (
        f"listen 127.0.0.1:{way.port} ",
        "server 127.0.0.1:4001;",
        "proxy_pass http://api;",
        f'Authorization "Bearer {TOKEN}"',
        'x-api-key ""',
        "proxy_buffering off;",
        "keepalive 1024;",
    ):
        assert line in text
    assert way.credential == ""


def test_nginx_over_tls(tmp_path: Path) -> None:
    """Over TLS it trusts the upstream's authority, and nobody else."""
    folder = tmp_path / "nginx"
    nginx(SECURE, folder)
    text = (folder / "nginx.conf").read_text()
    assert "proxy_pass https://api;" in text
    assert "proxy_ssl_verify on;" in text
    assert "proxy_ssl_trusted_certificate /authority.pem;" in text


def test_aiohttp(tmp_path: Path) -> None:
    """The pass-through is told where to listen, whom to ask, and whom to trust."""
    way = aiohttp(PLAIN, tmp_path / "plain")
    assert way.words[2:] == [str(way.port), "http://127.0.0.1:4001"]
    way = aiohttp(SECURE, tmp_path / "secure")
    assert way.words[2:] == [str(way.port), "https://localhost:4002", "/authority.pem"]


def test_bridge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bridge has a login that lives long, its own home, and nothing of ours but the PATH."""
    monkeypatch.setenv("BRIDGE_LOG_LEVEL", "debug")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    way = bridge(SECURE, tmp_path / "bridge")
    file = tmp_path / "bridge/.kimi/credentials/kimi-code.json"
    assert json.loads(file.read_text())["access_token"] == TOKEN
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    environment = way.environment
    assert environment["HOME"] == str(tmp_path / "bridge")
    assert environment["KIMI_CODE_BASE_URL"] == "https://localhost:4002/v1"
    assert environment["SSL_CERT_FILE"] == "/authority.pem"
    assert {"BRIDGE_LOG_LEVEL", "HTTPS_PROXY"}.isdisjoint(environment)
    assert way.path.startswith("/kimi/v1/messages")


def test_life(tmp_path: Path) -> None:
    """Within ``with`` it listens, and afterwards it has ended."""
    way = server(tmp_path, LISTENS)
    with way:
        assert way.listens()
        (pid,) = way.pids
        assert way.log.read_text() == "listens\n"
    assert way.pids == []
    assert not way.listens()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_death(tmp_path: Path) -> None:
    """What ends by itself is told with its last words, instead of being waited for."""
    way = server(tmp_path, "import sys; sys.exit('no such upstream')")
    with pytest.raises(RuntimeError, match="server ended with 1: no such upstream"), way:
        pytest.fail("it does not listen")


def test_stubborn(tmp_path: Path) -> None:
    """What does not go when it is told to is ended by force."""
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    way = server(tmp_path, deaf + LISTENS)
    way.patience = 0.05
    with way:
        (pid,) = way.pids
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
