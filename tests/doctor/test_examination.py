"""An examination looks at all of a machine, changes nothing of it, and shows no secret."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bridge.clock import SystemClock
from bridge.doctor.finding import Level
from tests.doctor.clinic import TimeServer, about, examined, taken
from tests.doctor.rows import levels, only, said, troubles
from tests.fakes.credential import credential_file, write_credential
from tests.ports import free_port
from tests.world import NOBODY, World, world

ANSWER = {
    "access_token": "ACCESSsecret9f3b",
    "refresh_token": "REFRESHsecret9f3b",
    "expires_in": 900,
    "scope": "kimi-code",
    "token_type": "Bearer",
}


@pytest.fixture(name="port")
def _port(monkeypatch: pytest.MonkeyPatch, home: Path) -> int:
    """A free port, which is the bridge's; no key and no agent of the developer's is about."""
    for name in [*os.environ]:
        if name.startswith(("ANTHROPIC_", "CLAUDE_", "OPENCODE_", "CODEX_")) or "API_KEY" in name:
            monkeypatch.delenv(name)
    port = free_port()
    monkeypatch.setenv("BRIDGE_PORT", str(port))
    return port


@pytest.fixture(name="share")
def _share(home: Path, port: int) -> Path:
    """A login and a device id in the home."""
    share = home / ".kimi"
    write_credential(share, ANSWER, SystemClock().now())
    (share / "device_id").write_text("d" * 32)
    return share


def configure(home: Path, text: str) -> Path:
    """Write the configuration file and return it."""
    path = home / ".config/bridge/config.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_fresh_machine(home: Path, port: int) -> None:
    """Before anything was done nothing fails; what there is to do first is told."""
    found = examined(home)
    assert (found.configured, found.exit_code) == (True, 0)
    assert only(about("kimi login", found)).mend == "bridge login kimi"
    assert "start it: bridge" in only(about("daemon", found)).mend
    assert only(about("network", found)).level is Level.WARN
    assert only(about("clock", found)).level is Level.WARN
    assert about("minimax key", found) == []


def test_nothing_is_changed(home: Path, port: int) -> None:
    """A doctor leaves no file, folder, lock or log behind."""
    examined(home)
    assert list(home.iterdir()) == []


def test_a_login_stays_as_it_is(home: Path, share: Path) -> None:
    """Where there is a login, no byte of it changes, and nothing appears beside it."""
    before = {path: path.read_bytes() for path in share.rglob("*") if path.is_file()}
    found = examined(home)
    assert only(about("kimi login", found)).level is Level.OK
    assert {path: path.read_bytes() for path in share.rglob("*") if path.is_file()} == before


CLOCKS = [(0.0, "ok", 0), (120.0, "warn", 0), (-120.0, "warn", 0), (3600.0, "fail", 1)]


@pytest.mark.parametrize("clock", CLOCKS)
def test_a_wrong_clock(
    home: Path, share: Path, monkeypatch: pytest.MonkeyPatch, clock: tuple[float, str, int]
) -> None:
    """The clock is compared with the authorization server's, and judged by a token's lifetime."""
    ahead, level, code = clock
    with TimeServer(ahead) as server:
        monkeypatch.setenv("KIMI_CODE_OAUTH_HOST", server.url)
        monkeypatch.setenv("KIMI_CODE_BASE_URL", f"{server.url}/coding/v1")
        found = examined(home, socket.getaddrinfo)
        assert server.asked
    assert levels(about("clock", found)) == [level]
    assert found.exit_code == code


def test_who_is_asked(home: Path, share: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Providers with a credential are asked, and those without are not; nobody is sent one."""
    with TimeServer() as kimi, TimeServer() as keyed, TimeServer() as keyless:
        monkeypatch.setenv("KIMI_CODE_OAUTH_HOST", kimi.url)
        monkeypatch.setenv("KIMI_CODE_BASE_URL", f"{kimi.url}/coding/v1")
        monkeypatch.setenv("ONE_API_KEY", "sk-secret9f3b1c77")
        configure(
            home,
            f'[providers.one]\nanthropic = "{keyed.url}/a"\nkey = {{ env = "ONE_API_KEY" }}\n'
            'headers = { X-Gateway = "HEADERsecret9f3b" }\n'
            f'[providers.two]\nopenai = "{keyless.url}/v1"\nkey = {{ env = "TWO_API_KEY" }}\n',
        )
        found = examined(home, socket.getaddrinfo)
        assert [path for path, _ in keyed.asked] == ["/a"]
        assert (len(kimi.asked), keyless.asked) == (1, [])
        heads = json.dumps([headers for _, headers in (*kimi.asked, *keyed.asked)])
    assert "secret" not in heads
    assert only(about("one key", found)).text == "comes from ONE_API_KEY"
    two = only(about("two key", found))
    assert (two.level, two.mend) == ("warn", "put one into TWO_API_KEY")


def test_a_stranger_on_the_port(home: Path, port: int) -> None:
    """A stranger on the port fails, and is this process."""
    with taken(port):
        found = examined(home)
    finding = only(about("port", found))
    assert (finding.level, found.exit_code) == ("fail", 1)
    assert f"127.0.0.1:{port} is taken by" in finding.text
    assert f"pid {os.getpid()}" in finding.text


def test_a_wrong_configuration(home: Path, share: Path, port: int) -> None:
    """Each mistake is told, with 78; the rest is looked at all the same, and nobody is asked."""
    file = configure(home, "[server]\nprot = 1\n[log]\nlevel = 5\n")
    with taken(port):
        found = examined(home)
    assert (found.configured, found.exit_code) == (False, 78)
    mistakes = about("configuration", found)
    assert levels(mistakes) == ["fail", "fail"]
    assert mistakes[0].text.startswith(f"{file}:2: server.prot: unknown key")
    assert about("kimi login", found)
    assert levels(about("port", found)) == ["fail"]
    assert about("network", found) == []
    assert only(about("clock", found)).level is Level.OK


WRONG = {
    "HOME": "relative",
    "BRIDGE_PORT": "many",
    "KIMI_SHARE_DIR": "relative",
    "KIMI_CODE_OAUTH_HOST": "http://example.org",
    "HTTPS_PROXY": "socks5://u:secret9f3b@127.0.0.1:1",
    "SSL_CERT_FILE": "/nonexistent.pem",
    "BRIDGE_CONFIG": "/nonexistent.toml",
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_environment(
    home: Path, port: int, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A variable that leads nowhere good is a wrong configuration, and no crash."""
    monkeypatch.setenv(name, WRONG[name])
    found = examined(home)
    assert (found.configured, found.exit_code) == (False, 78)
    wanted = WRONG[name] if WRONG[name].startswith("/") else name
    assert wanted in said(about("configuration", found))
    assert "secret9f3b" not in said(found.findings)
    assert about("program", found)


def test_a_key_that_was_configured_and_is_not_there(home: Path, port: int) -> None:
    """A key whose place a person named is missed; one of the catalogue's is not."""
    configure(home, '[providers.minimax]\nkey = { file = "~/minimax.key" }\n')
    found = examined(home)
    finding = only(about("minimax key", found))
    assert (finding.level, finding.mend) == ("warn", "put one into ~/minimax.key")
    assert about("glm key", found) == []


def test_a_default_provider_without_a_key(home: Path, port: int) -> None:
    """The default provider is counted on by every client that names none."""
    configure(home, '[server]\ndefault_provider = "zai"\n')
    found = examined(home)
    assert levels(about("glm key", found)) == ["warn"]
    assert about("network", found) == []  # nobody has a credential, so nobody is asked


def test_an_open_door(home: Path, port: int) -> None:
    """What the configuration allows everybody is told."""
    configure(home, '[server]\nclients = "any"\n')
    found = examined(home)
    assert "server.clients is any" in only(troubles(about("configuration", found))).text


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be in somebody else's home")
def test_root_in_somebody_elses_home(home: Path, port: int) -> None:
    """Root is told to be that person, and nothing more is looked at in their name."""
    os.chown(home, NOBODY, NOBODY)
    found = examined(home)
    assert (found.configured, found.exit_code) == (True, 1)
    finding = only(about("configuration", found))
    assert f"{home} belongs to uid {NOBODY}" in finding.text
    assert "run bridge as that user" in finding.mend


def test_files_that_agents_read(home: Path, port: int) -> None:
    """The settings of all three agents are read where they are, and a project's, too."""
    project = home / "project"
    elsewhere = {"env": {"ANTHROPIC_BASE_URL": "http://127.0.0.1:1"}}
    for path, text in {
        project / ".claude/settings.json": json.dumps(elsewhere),
        home / ".codex/config.toml": '[model_providers.bridge-kimi]\nbase_url = "http://[::1]:1"\n',
        project / "opencode.json": "{",
    }.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    found = examined(home, here=project)
    assert [levels(about(each, found)) for each in ("Claude Code", "Codex", "OpenCode")] == [
        ["fail"],
        ["fail"],
        ["warn"],
    ]


def test_files_that_others_can_read(home: Path, share: Path, port: int) -> None:
    """Modes that are too open are told, for the login, the caller key and the configuration."""
    credential_file(share).chmod(0o644)
    key = home / ".local/state/bridge/key"
    key.parent.mkdir(parents=True)
    key.write_text("bridge-" + "k" * 40)
    key.chmod(0o644)
    configure(home, "").chmod(0o666)
    found = examined(home)
    mends = [each.mend for each in troubles(found.findings)]
    assert f"chmod 600 {credential_file(share)}" in mends
    assert f"chmod 600 {key}" in mends
    assert f"chmod go-w {home}/.config/bridge/config.toml" in mends


# --- with a daemon


@pytest.fixture(name="machine")
def _machine(tmp_path: Path) -> Iterator[World]:
    """A machine with a login."""
    with world(tmp_path) as machine:
        machine.log_in()
        (machine.share / "device_id").write_text("d" * 32)
        yield machine


def told(machine: World, code: int = 0) -> list[dict[str, Any]]:
    """Return the findings that the command prints on *machine*, which ends with *code*."""
    done = machine.bridge("doctor", "--json")
    assert done.returncode == code, done.stdout + done.stderr
    findings: list[dict[str, Any]] = json.loads(done.stdout)["findings"]
    return findings


def the(subject: str, findings: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Return level and text of the findings about *subject*."""
    return [(each["level"], each["text"]) for each in findings if each["subject"] == subject]


@pytest.mark.process
@pytest.mark.timeout(60)
def test_a_life_with_a_daemon(machine: World) -> None:
    """From before the first start to a crash, what is said of the daemon is true of it."""
    assert the("daemon", told(machine))[0][0] == "warn"
    machine.start()
    [(level, text)] = the("daemon", told(machine))
    assert (level, f"pid {machine.pid}" in text) == ("ok", True)
    assert machine.pid is not None
    os.kill(machine.pid, signal.SIGSTOP)
    [(level, text)] = the("daemon", told(machine, code=1))
    assert (level, "does not answer" in text) == ("fail", True)
    os.kill(machine.pid, signal.SIGKILL)
    while machine.bridge("--check").returncode == 4:  # the kernel has not let go of the port yet
        continue
    [(level, text)] = the("PID file", told(machine))
    assert (level, "left behind" in text) == ("warn", True)


@pytest.mark.process
@pytest.mark.timeout(60)
def test_a_daemon_of_another_time(machine: World) -> None:
    """A daemon of another version, or of before a change of the port, is told with the remedy."""
    machine.start()
    record = machine.pid_file.read_text()
    machine.pid_file.write_text(record.replace("version=", "version=0.0."))
    findings = [each for each in told(machine) if each["subject"] == "daemon"]
    assert [each["level"] for each in findings] == ["ok", "warn"]
    assert "this command is" in findings[1]["text"]
    assert findings[1]["mend"] == "bridge --restart"
    machine.pid_file.write_text(record)
    machine.variables["BRIDGE_PORT"] = str(free_port())
    findings = [each for each in told(machine) if each["subject"] == "daemon"]
    assert f"listens on port {machine.port}" in findings[1]["text"]
    machine.variables = {}


@pytest.mark.process
@pytest.mark.timeout(60)
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="there is no /proc")
def test_a_daemon_that_never_saw_the_key(machine: World) -> None:
    """A key of this shell that the daemon was not started with is told, by its name alone."""
    machine.start()
    machine.variables["MINIMAX_API_KEY"] = "sk-cp-secret9f3b1c77d0"
    findings = told(machine)
    [(level, text)] = the("daemon's environment", findings)
    assert level == "warn"
    assert "MINIMAX_API_KEY is set in this shell but not in the daemon's environment" in text
    assert "secret9f3b" not in machine.outputs[-2]
    assert machine.bridge("--restart").returncode == 0
    assert the("daemon's environment", told(machine))[0][0] == "ok"


@pytest.mark.process
@pytest.mark.timeout(60)
def test_a_login_that_has_ended(machine: World) -> None:
    """That the server has refused the login is known to the daemon alone, and is told."""
    machine.start()
    document = machine.token()
    spent = {**document, "refresh_token": "no-such-token", "expires_at": 1.0}
    machine.credential.write_text(json.dumps(spent))
    assert machine.ask()[0] == 401
    [_, (level, text)] = the("daemon", told(machine, code=1))
    assert (level, text) == ("fail", "it says of kimi: the login has ended")


# --- secrets

MARK = "sEcReT9f3b"
PLANTED = {
    ".claude/settings.json": {
        "apiKeyHelper": f"echo {MARK}",
        "env": {
            "ANTHROPIC_BASE_URL": f"https://me:{MARK}@gate.example/{MARK}?key={MARK}",
            "ANTHROPIC_API_KEY": f"sk-ant-{MARK}",
            "ANTHROPIC_AUTH_TOKEN": MARK,
            "ANTHROPIC_CUSTOM_HEADERS": f"X-Key: {MARK}",
            "ANTHROPIC_MODEL": MARK,
            "CLAUDE_CODE_USE_BEDROCK": MARK,
            "HTTPS_PROXY": f"http://me:{MARK}@proxy:1",
            "no_proxy": MARK,
        },
    },
    ".claude.json": f'{{"env": {{"ANTHROPIC_API_KEY": "{MARK}"',
    ".claude/settings.local.json": {"env": {"ANTHROPIC_BASE_URL": MARK}},
    ".codex/config.toml": f'openai_base_url = "https://{MARK}@x.example"\n'
    f'[model_providers.kimi]\nbase_url = "http://{MARK}@127.0.0.1:1/kimi?k={MARK}"\n'
    f'wire_api = "chat"\n[model_providers.kimi.http_headers]\nX-Key = "{MARK}"\n',
    ".codex/torn.config.toml": f'key = "{MARK}',
    ".config/opencode/opencode.json": {
        "provider": {
            "bridge-kimi": {
                "options": {"baseURL": f"http://{MARK}@127.0.0.1:1/kimi", "apiKey": MARK}
            }
        }
    },
    ".config/opencode/opencode.jsonc": f'{{"apiKey": "{MARK}"',
    ".config/bridge/config.toml": f'[network]\nproxy = "http://me:{MARK}@127.0.0.1:9"\n'
    f'[providers.kimi]\nheaders = {{ X-Gateway = "{MARK}" }}\n'
    f'[providers.mine]\nopenai = "http://127.0.0.1:9/v1"\n'
    f'key = {{ command = ["echo", "{MARK}"] }}\n'
    f'[providers.gone]\nopenai = "http://127.0.0.1:9/v1"\n'
    f'key = {{ command = ["/nonexistent/op", "{MARK}"] }}\n',
    ".MiniMaxAZ1.api.key": f"{MARK} {MARK}",
    ".DeepSeekAZ1.api.key": f"export KEY={MARK}",
    ".GLMAZ1.api.key": f"{MARK}-a-key-that-is-one",
    ".OpenRouterAZ1.api.key": f"not-or-{MARK}",
    ".local/state/bridge/key": f"bridge-{MARK}{MARK}",
}
ENVIRONMENT = {
    "ANTHROPIC_BASE_URL": f"https://me:{MARK}@gate.example/{MARK}?key={MARK}",
    "ANTHROPIC_API_KEY": f"sk-ant-{MARK}",
    "ANTHROPIC_AUTH_TOKEN": MARK,
    "ANTHROPIC_MODEL": MARK,
    "CLAUDE_CODE_OAUTH_TOKEN": MARK,
    "HTTPS_PROXY": f"http://me:{MARK}@127.0.0.1:9",
    "NO_PROXY": MARK,
    "ZAI_API_KEY": f"<{MARK}>",
    "CEREBRAS_API_KEY": f"other-{MARK}",
    "BRIDGE_SECRET": MARK,
}


def plant(machine: World) -> None:
    """Put a secret into every file and variable that a doctor looks at."""
    for name, content in PLANTED.items():
        path = machine.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        path.chmod(0o600)
    machine.credential.write_text(
        json.dumps({**machine.token(), "access_token": f"a-{MARK}", "refresh_token": f"r-{MARK}"})
    )
    machine.variables |= ENVIRONMENT


@pytest.mark.process
@pytest.mark.timeout(60)
def test_no_secret_is_shown(machine: World) -> None:
    """Whatever holds secrets, with a daemon and without, in words and in JSON: none is shown."""
    machine.start()
    plant(machine)
    seen = ""
    for words in ([], ["--json"]):
        seen += machine.bridge("doctor", *words).stdout
    assert machine.bridge("--restart").returncode == 0
    for words in ([], ["--json"]):
        seen += machine.bridge("doctor", *words).stdout
    assert machine.bridge("--stop").returncode == 0
    machine.credential.write_text(f'{{"access_token": "{MARK}')
    config = machine.home / ".config/bridge/config.toml"
    config.write_text(config.read_text() + f'[providers.glm]\nkey = "{MARK}"\n')
    for words in ([], ["--json"]):
        done = machine.bridge("doctor", *words)
        assert done.returncode == 78
        seen += done.stdout
    assert MARK.lower() not in (seen + "".join(machine.outputs)).lower()
    for path in PLANTED:  # all of them were looked at, or the test would prove nothing
        assert path in seen or path == ".local/state/bridge/key", path
    for name in ENVIRONMENT:
        assert name in seen, name


@pytest.mark.process
@pytest.mark.timeout(60)
def test_each_trouble_has_a_mend(machine: World) -> None:
    """On the worst machine there is, whatever is not well says what to do about it."""
    plant(machine)
    findings = told(machine, code=1)
    assert sum(each["level"] != "ok" for each in findings) > 20
    for each in findings:
        assert bool(each["mend"]) == (each["level"] != "ok"), each
        assert each["text"], each
        assert each["subject"], each
