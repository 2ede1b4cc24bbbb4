"""Keys of a real daemon: from every kind of place, changed while a hundred streams are open."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import random
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.fakes.exchange import Exchange
from tests.fakes.loopback import LoopbackServer
from tests.world import World, message, world

pytestmark = [pytest.mark.process, pytest.mark.timeout(90)]

STREAMS = 100
#: Bytes of a stream; half of them come before the test says so, half of them after.
LENGTH = 40_000
OLD, NEW = "sk-cp-OLDsecret", "sk-cp-NEWsecret"

#: What the environment of a developer may hold, and no daemon here is to find.
VARIABLES = [
    *("MINIMAX_API_KEY", "DEEPSEEK_API_KEY", "ZAI_API_KEY", "GLM_API_KEY"),
    *("OPENROUTER_API_KEY", "CEREBRAS_API_KEY"),
]


def content(number: int) -> bytes:
    """Return what the stream of that *number* is made of."""
    return random.Random(number).randbytes(LENGTH)


class Gateway(LoopbackServer):
    """A provider that streams: half at once, the other half once *gate* is open.

    *keys* keeps the credential of each request in order; those in *refused* get a 401.
    """

    def __init__(self) -> None:
        super().__init__()
        self.keys: list[str] = []
        self.refused: set[str] = set()
        self.gate = asyncio.Event()
        self._halves = 0
        self._half = asyncio.Condition()

    async def answer(self, exchange: Exchange) -> None:
        """Answer as the body wants it."""
        request = exchange.request
        key = request.header("x-api-key") or request.bearer
        self.keys.append(key)
        number = request.document.get("number")
        if key in self.refused:
            await exchange.answers_json(401, {"error": {"message": "no"}})
        elif number is None:
            await exchange.answers_json(200, {"served": True})
        else:
            await self._streams(exchange, content(number))

    async def _streams(self, exchange: Exchange, whole: bytes) -> None:
        await exchange.head(200, {"content-type": "text/event-stream"})
        await exchange.says(whole[: LENGTH // 2])
        async with self._half:
            self._halves += 1
            self._half.notify_all()
        await self.gate.wait()
        for start in range(LENGTH // 2, LENGTH, 1000):
            await exchange.says(whole[start : start + 1000])
        await exchange.ends()

    async def begun(self, number: int) -> None:
        """Return once so many streams are half out."""
        async with self._half:
            await self._half.wait_for(lambda: self._halves >= number)


class Agents:
    """A hundred agents at work, and one more that asks when it is told to."""

    def __init__(self, machine: World, gateway: Gateway, session: aiohttp.ClientSession) -> None:
        self.machine = machine
        self.gateway = gateway
        self._session = session
        self._streams: dict[int, asyncio.Task[bytes]] = {}

    async def begin(self, *providers: str) -> None:
        """Begin all streams, spread over *providers*, and return when each is half out."""
        for number in range(STREAMS):
            provider = providers[number % len(providers)]
            self._streams[number] = asyncio.create_task(self._stream(provider, number))
        begun = asyncio.create_task(self.gateway.begun(STREAMS))
        done, _ = await asyncio.wait(
            {begun, *self._streams.values()}, return_when=asyncio.FIRST_COMPLETED
        )
        for task in done:
            await task
        assert done == {begun}

    async def end(self) -> None:
        """Let the streams end, and see that each of them came whole, byte for byte."""
        self.gateway.gate.set()
        for number, stream in self._streams.items():
            assert digest(await stream) == digest(content(number))

    async def asks(self, provider: str = "minimax", **more: str) -> tuple[int, str]:
        """Ask once; return the status and the key that the provider saw."""
        url = f"{self.machine.url}/{provider}/v1/messages"
        async with self._session.post(url, json=message("Hello"), headers=more) as response:
            await response.read()
            return response.status, self.gateway.keys[-1]

    async def _stream(self, provider: str, number: int) -> bytes:
        url = f"{self.machine.url}/{provider}/v1/messages"
        headers = {"x-api-key": "dummy", "authorization": "Bearer dummy"}
        body = {**message("Hello", stream=True), "number": number}
        async with self._session.post(url, json=body, headers=headers) as response:
            assert response.status == 200
            return await response.read()


def digest(data: bytes) -> str:
    """Return a short name of *data*."""
    return hashlib.sha256(data).hexdigest()[:16]


@contextlib.asynccontextmanager
async def agents(machine: World) -> AsyncIterator[Agents]:
    """Return agents whose provider is the gateway."""
    connector = aiohttp.TCPConnector(limit=0)
    async with Gateway() as gateway, aiohttp.ClientSession(connector=connector) as session:
        yield Agents(machine, gateway, session)


def credential(document: Mapping[str, Any], provider: str) -> dict[str, Any]:
    """Return what *document* says of the credential of *provider*, and not of its traffic."""
    traffic = {"requests", "errors", "sent_bytes"}
    row = document["providers"][provider]
    assert traffic <= {*row}
    return {name: value for name, value in row.items() if name not in traffic}


@pytest.fixture(name="machine")
def _machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A machine without a login and without a key."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    with world(tmp_path) as machine:
        yield machine


def configured(machine: World, url: str, key: str, name: str = "minimax") -> str:
    """Make *url* the provider of that *name*, with *key* as a configuration has it."""
    text = f'[providers.{name}]\nanthropic = "{url}/anthropic"\nkey = {key}\n'
    machine.configure(text)
    return text


def key_file(machine: World, key: str, name: str = ".my.key") -> Path:
    """Write *key* into a file of the home, in place."""
    path = machine.home / name
    path.touch(mode=0o600)
    path.write_text(f"{key}\n")
    return path


def replaced(machine: World, key: str) -> None:
    """Put a file with *key* in the place of the one that is there."""
    key_file(machine, key, ".my.new").replace(machine.home / ".my.key")


def vault(machine: World, key: str | None) -> str:
    """Make the key command print *key*, or fail, and return it as a configuration has it.

    It counts its runs in ``runs``.
    """
    holds, runs = machine.home / "vault", machine.home / "runs"
    holds.unlink(missing_ok=True)
    if key is not None:
        holds.write_text(key)
    script = f"echo run >> {runs}; echo STDERRsecret >&2; cat {holds} || exit 9"
    return command(script)


def command(script: str) -> str:
    """Return the place that is what *script* prints, as a configuration has it."""
    return f"{{ command = {json.dumps(['sh', '-c', script])} }}"


def undisturbed(machine: World) -> None:
    """See that the log has no word of a request that went wrong."""
    for word in ("cut", "failed", "abandoned", "bug", "Traceback"):
        assert f"request {word}" not in machine.log, machine.log
    assert "Traceback" not in machine.log


# --- changes


@pytest.mark.parametrize("change", [key_file, replaced], ids=["written", "replaced"])
async def test_a_key_file_is_changed(
    machine: World, change: Callable[[World, str], object]
) -> None:
    """A changed file counts from the next request on, and no open stream notices."""
    async with agents(machine) as all_of_them:
        configured(machine, all_of_them.gateway.url, '{ file = "~/.my.key" }')
        key_file(machine, OLD)
        await asyncio.to_thread(machine.start)
        await all_of_them.begin("minimax")
        assert await all_of_them.asks() == (200, OLD)
        change(machine, NEW)
        assert await all_of_them.asks() == (200, NEW)
        assert all_of_them.gateway.keys.count(OLD) == STREAMS + 1
        await all_of_them.end()
    undisturbed(machine)


async def test_a_key_file_is_written_again_and_again(machine: World) -> None:
    """Requests while a shell writes the file, which empties it first, find one key or the other."""
    async with agents(machine) as all_of_them:
        configured(machine, all_of_them.gateway.url, '{ file = "~/.my.key" }')
        path = key_file(machine, OLD)
        await asyncio.to_thread(machine.start)
        assert await all_of_them.asks() == (200, OLD)
        script = f"for n in $(seq 400); do echo {OLD} > {path}; echo {NEW} > {path}; done"
        writer = await asyncio.create_subprocess_exec("sh", "-c", script)
        writing = asyncio.create_task(writer.wait())
        while not writing.done():
            status, key = await all_of_them.asks()
            assert (status, key) in {(200, OLD), (200, NEW)}
        assert await all_of_them.asks() == (200, NEW)
    undisturbed(machine)


async def test_a_command_gives_another_key(machine: World) -> None:
    """When the upstream refuses the key of a command, the new one is in force at that request."""
    async with agents(machine) as all_of_them:
        gateway = all_of_them.gateway
        configured(machine, gateway.url, vault(machine, OLD))
        await asyncio.to_thread(machine.start)
        await all_of_them.begin("minimax")
        assert (machine.home / "runs").read_text().count("run") == 1
        vault(machine, NEW)
        gateway.refused = {OLD}
        asked = await asyncio.gather(*(all_of_them.asks() for _ in range(20)))
        assert {status for status, _ in asked} == {200}
        assert await all_of_them.asks() == (200, NEW)
        assert (machine.home / "runs").read_text().count("run") == 2
        gateway.refused = {NEW}
        assert await all_of_them.asks() == (401, NEW)  # not again within a minute
        assert (machine.home / "runs").read_text().count("run") == 2
        await all_of_them.end()
    undisturbed(machine)


async def test_another_place_is_configured(machine: World) -> None:
    """A place that an edit of the configuration names counts once that is read; no stream notices.

    A reload that changes something else does not run the command again.
    """
    async with agents(machine) as all_of_them:
        text = configured(machine, all_of_them.gateway.url, vault(machine, OLD))
        await asyncio.to_thread(machine.start)
        await all_of_them.begin("minimax")
        machine.configure(f'{text}\n[log]\nlevel = "debug"\n')
        await until(machine, lambda: machine.log.count("configuration reloaded") == 1)
        assert await all_of_them.asks() == (200, OLD)
        assert (machine.home / "runs").read_text().count("run") == 1
        key_file(machine, NEW)
        configured(machine, all_of_them.gateway.url, '{ file = "~/.my.key" }')
        await until(machine, lambda: machine.log.count("configuration reloaded") == 2)
        assert await all_of_them.asks() == (200, NEW)
        await all_of_them.end()
    undisturbed(machine)


async def until(machine: World, happened: Callable[[], bool]) -> None:
    """Return once *happened*, with the daemon asked in between."""
    await asyncio.to_thread(machine.until, happened)


async def test_a_new_daemon_with_another_environment(machine: World) -> None:
    """A restart takes the new environment; streams of the old daemon end whole before."""
    async with agents(machine) as all_of_them:
        configured(machine, all_of_them.gateway.url, '{ env = "MINIMAX_API_KEY" }')
        machine.variables["MINIMAX_API_KEY"] = OLD
        await asyncio.to_thread(machine.start)
        await all_of_them.begin("minimax")
        machine.variables["MINIMAX_API_KEY"] = NEW
        assert await all_of_them.asks() == (200, OLD)
        restart = machine.spawn("--restart")
        await asyncio.to_thread(machine.draining)
        await all_of_them.end()
        assert await asyncio.to_thread(restart.wait) == 0
        assert await all_of_them.asks() == (200, NEW)
    undisturbed(machine)


async def test_five_providers_at_once(machine: World) -> None:
    """Twenty streams on each of five providers: every one whole, each with its provider's key."""
    names = ["minimax", "deepseek", "glm", "openrouter", "mine"]
    async with agents(machine) as all_of_them:
        text = ""
        for name in names:
            key_file(machine, f"sk-{name}-A1B2C3", f".{name}.key")
            text += configured(
                machine, all_of_them.gateway.url, f'{{ file = "~/.{name}.key" }}', name
            )
        machine.configure(text)
        await asyncio.to_thread(machine.start)
        await all_of_them.begin(*names)
        seen = all_of_them.gateway.keys
        assert {key: seen.count(key) for key in set(seen)} == {
            f"sk-{name}-A1B2C3": STREAMS // len(names) for name in names
        }
        await all_of_them.end()
    undisturbed(machine)


# --- no key


def test_no_key(machine: World) -> None:
    """Shell and agent are told every place and what to do; once it is done the next one works."""
    configured(
        machine, machine.upstream.url, '[{ env = "MINIMAX_API_KEY" }, { file = "~/.my.key" }]'
    )
    told = (
        "minimax has no key: put it into ~/.my.key (mode 0600) "
        "or set MINIMAX_API_KEY for the daemon"
    )
    assert machine.told("up", "minimax", code=150) == told
    check = machine.bridge("--check", "minimax", "-v")
    assert check.returncode == 150
    assert "but minimax needs a login or key: run: bridge up minimax" in check.stderr
    status, headers, body = machine.ask("/minimax/v1/messages")
    assert (status, headers["x-should-retry"]) == (401, "false")
    error = {"type": "authentication_error", "message": told}
    assert json.loads(body) == {"type": "error", "error": error}
    document = machine.health()
    assert credential(document, "minimax") == {"ready": False, "auth": "key", "problem": told}
    assert machine.authorization.state()["device_flows"] == 0
    key_file(machine, NEW)
    assert machine.bridge("--check", "minimax").returncode == 0
    assert machine.bridge("up", "minimax").returncode == 0
    assert machine.health()["providers"]["minimax"]["source"] == "~/.my.key"


def test_no_key_in_the_other_dialect(machine: World) -> None:
    """A client of OpenAI's dialect is told in it."""
    configured(machine, machine.upstream.url, '{ env = "MINIMAX_API_KEY" }')
    machine.start()
    status, headers, body = machine.ask("/minimax/v1/chat/completions")
    assert (status, headers["x-should-retry"]) == (401, "false")
    error = json.loads(body)["error"]
    assert error["code"] == "key_required"
    assert error["message"] == "minimax has no key: set MINIMAX_API_KEY for the daemon"


@pytest.mark.parametrize("name", ["glm", "zai"])
def test_every_name_of_a_provider(machine: World, name: str) -> None:
    """A provider is ready under each of its names, and one that nobody knows is not."""
    machine.start()
    assert machine.bridge("--check", name).returncode == 150
    assert "glm has no key" in machine.told("up", name, code=150)
    key_file(machine, NEW, ".GLMAZ1.api.key")
    assert machine.bridge("--check", name).returncode == 0
    assert machine.bridge("up", name).returncode == 0
    assert machine.bridge("--check", "nobody").returncode == 150
    assert "there is no provider nobody" in machine.told("up", "nobody", code=2)


@pytest.mark.parametrize("verb", ["login", "logout", "token"])
def test_no_login_where_there_is_none(machine: World, verb: str) -> None:
    """A provider with a key has no login: that is wrong usage, and nothing is started for it."""
    assert "minimax has no login" in machine.told(verb, "minimax", code=2)
    machine.configure('[providers.kimi]\nauth = "key"\n')
    assert "kimi has a key in this configuration and no login" in machine.told(verb, code=2)
    assert machine.pid is None


def test_a_status_of_the_default_provider(machine: World) -> None:
    """The whole is ok when the provider that answers without a prefix is, whatever others lack."""
    machine.configure('[server]\ndefault_provider = "minimax"\n')
    key_file(machine, "sk-ant-ODDsecret", ".MiniMaxAZ1.api.key").chmod(0o644)
    machine.start()
    document = machine.health()
    assert document["status"] == "degraded"
    assert "can be read by other users" in document["providers"]["minimax"]["problem"]
    (machine.home / ".MiniMaxAZ1.api.key").chmod(0o600)
    document = machine.health()
    assert document["status"] == "ok"
    assert credential(document, "anthropic") == {"ready": True, "auth": "passthrough"}
    assert not document["providers"]["kimi"]["ready"]


# --- Kimi with a key


async def test_a_key_for_kimi(machine: World) -> None:
    """With ``auth = "key"`` the login beside it is neither used nor refreshed nor offered."""
    machine.log_in(expires_at=1)
    async with agents(machine) as all_of_them:
        url = all_of_them.gateway.url
        machine.configure(f'[providers.kimi]\nauth = "key"\nanthropic = "{url}"\n')
        machine.variables["KIMI_CODE_BASE_URL"] = ""
        machine.variables["KIMI_API_KEY"] = "sk-kimi-CONSOLEsecret"
        await asyncio.to_thread(machine.start)
        assert await all_of_them.asks("kimi") == (200, "sk-kimi-CONSOLEsecret")
        all_of_them.gateway.refused = {"sk-kimi-CONSOLEsecret"}
        assert (await all_of_them.asks("kimi"))[0] == 401
    document = await asyncio.to_thread(machine.health)
    assert credential(document, "kimi") == {
        "ready": True,
        "auth": "key",
        "source": "KIMI_API_KEY",
    }
    state = await asyncio.to_thread(machine.authorization.state)
    assert (state["refreshes"], state["device_flows"]) == (0, 0)


# --- commands


def test_a_stop_ends_a_command(machine: World) -> None:
    """A daemon that leaves takes a key command that hangs with it, and all that this started."""
    pids = machine.home / "pids"
    configured(machine, machine.upstream.url, command(f"sleep 600 & echo $$ $! > {pids}; wait"))
    machine.start()
    body = json.dumps(message("Hello"))
    asking = subprocess.Popen(
        ["curl", "-s", "-d", body, f"{machine.url}/minimax/v1/messages"],
        stdout=subprocess.DEVNULL,
    )
    with asking:
        machine.until(lambda: pids.exists() and pids.read_text().endswith("\n"))
        asking.kill()
    assert machine.bridge("--stop").returncode == 0
    for pid in pids.read_text().split():
        assert not is_alive(int(pid))


def is_alive(pid: int) -> bool:
    """Say whether a process runs; one that waits to be reaped does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def test_health_runs_no_command(machine: World) -> None:
    """Asking how things are runs nothing: neither ``/health``, nor ``--check``, nor ``up``."""
    configured(machine, machine.upstream.url, vault(machine, NEW))
    machine.start()
    assert machine.bridge("--check", "minimax", "--json").returncode == 0
    assert machine.bridge("up", "minimax").returncode == 0
    assert credential(machine.health(), "minimax") == {
        "ready": True,
        "auth": "key",
        "source": "the key command of minimax",
    }
    assert not (machine.home / "runs").exists()


# --- secrets


class Sinks(dict[str, str]):
    """All places where a key must not turn up, by what they are."""

    def asks(self, machine: World, provider: str) -> int:
        """Ask once with a client's own secrets; what comes back is a sink."""
        status, headers, body = machine.ask(
            f"/{provider}/v1/messages", headers={"x-api-key": "CLIENTsecret"}
        )
        self[f"answer {len(self)} of {provider}"] = f"{headers}{body!r}"
        return status

    def looks_around(self, machine: World) -> None:
        """Take the health document, the process list, outputs, log and files."""
        self[f"health {len(self)}"] = json.dumps(machine.health())
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                self[f"command line of {entry.parent.name} at {len(self)}"] = entry.read_text()
        for number, text in enumerate(machine.outputs):
            self[f"output {number}"] = text
        for path in (machine.home / ".local").rglob("*"):
            if path.is_file() and path.name != "key":
                self[str(path)] = path.read_text()

    def leaks(self, secrets: Mapping[str, str]) -> list[str]:
        """Return where a secret can be read, and which."""
        return [
            f"{name}: {what}"
            for name, text in self.items()
            for what, secret in secrets.items()
            if secret in text
        ]


SECRETS = {
    "variable": "ENVIRONMENTsecret",
    "file": "FILEsecret",
    "command": "COMMANDsecret",
    "argument": "ARGUMENTsecret",
    "standard error": "STDERRsecret",
    "no key": "SPOILTsecret",
    "client": "CLIENTsecret",
}


def test_no_key_in_any_sink(machine: World) -> None:
    """Keys of every kind of place, good, odd, spoilt and refused, stand nowhere but there."""
    url = machine.upstream.url
    script = f"echo STDERRsecret >&2; cat {machine.home}/vault"
    words = json.dumps(["sh", "-c", script, "ARGUMENTsecret"])
    text = "".join(
        f'[providers.{name}]\nanthropic = "{url}/x"\nkey = {key}\nkey_prefixes = ["sk-"]\n'
        for name, key in {
            "one": '{ env = "ONE" }',
            "two": '{ file = "~/two.key" }',
            "three": f"{{ command = {words} }}",
        }.items()
    )
    machine.configure(f'{text}[log]\nlevel = "debug"\n')
    machine.variables["ONE"] = SECRETS["variable"]
    two, three = machine.home / "two.key", machine.home / "vault"
    sinks = Sinks()
    spoilt = ["SPOILTsecret\nSPOILTsecret", "SPOILTsecret\x07", '"SPOILTsecret"']
    for file, command in [("FILEsecret", "COMMANDsecret"), *zip(spoilt, spoilt, strict=True)]:
        two.write_text(file)
        three.write_text(command)
        assert machine.bridge("--restart").returncode == 0
        for name in ("one", "two", "three"):
            sinks.asks(machine, name)
            machine.bridge("--check", name, "-v", "--json")
            machine.bridge("up", name)
        sinks.looks_around(machine)
    machine.bridge("providers")
    machine.variables["ONE"] = "<SPOILTsecret>"
    three.unlink()
    assert machine.bridge("--restart").returncode == 0
    assert sinks.asks(machine, "one") == 401
    assert sinks.asks(machine, "three") == 503
    machine.configure(text.replace("{ command", '"SPOILTsecret", { command'))
    machine.bridge("--reload")
    sinks.looks_around(machine)
    assert len(sinks) > 40
    assert "key odd provider=one" in machine.log
    assert sinks.leaks(SECRETS) == []
    for what, secret in SECRETS.items():
        planted = Sinks({**sinks, "log": f"{machine.log}reason={secret}\n"})
        assert planted.leaks(SECRETS) == [f"log: {what}"]
