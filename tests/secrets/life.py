"""A busy life with a secret in every place where one can be, and a look into every sink.

Everything here is installed and real: the daemon, the commands, the servers it talks to.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from bridge.clock import SystemClock
from tests.fakes.exchange import Exchange
from tests.fakes.grants import ACCESS_MARK, REFRESH_MARK
from tests.fakes.loopback import LoopbackServer
from tests.process.wire import dial
from tests.secrets import marks
from tests.secrets.marks import planted
from tests.world import World, message

_NOW = SystemClock().now
#: How a provider may answer; see :class:`Indiscreet`.
_WISHES: Final = ("200", "400", "401", "429", "500", "reset", "garbage", "cut", "redirect")
#: Every command that tells something; ``token`` is apart.
_COMMANDS: Final = (
    *(["status"], ["status", "--json"], ["doctor"], ["doctor", "--json"]),
    *(["config", "show"], ["config", "show", "--json"], ["config", "check"]),
    *(["providers"], ["providers", "--json"], ["service", "print"], ["logs", "-n", "500"]),
    *(["--check", "--json"], ["--check", "kimi", "-v"], ["--check", "deepseek", "-v"]),
    *(["env", "minimax"], ["shell-init", "bash"], ["--reload"], ["login", "--help"]),
)


class Indiscreet(LoopbackServer):
    """A provider that repeats what it was shown, in body and headers, and fails in every way."""

    async def answer(self, exchange: Exchange) -> None:
        """Answer as the path asks: with a status, by a break in the middle, or with nonsense."""
        request = exchange.request
        wish = request.query.get("wish", "200")
        shown = {**dict(request.headers), "said": marks.UPSTREAM_BODY}
        body = json.dumps({"error": {"type": "api_error", "message": json.dumps(shown)}}).encode()
        headers = [("x-odd", marks.UPSTREAM_HEADER), ("set-cookie", marks.UPSTREAM_HEADER)]
        if wish == "reset":
            exchange.breaks()
        elif wish == "garbage":
            await exchange.raw(f"{marks.UPSTREAM_HEADER}\r\n\r\n".encode())
            exchange.closes()
        elif wish == "cut":
            await exchange.head(200, headers, "length", len(body) + 9)
            await exchange.says(body)
            exchange.breaks()
        elif wish == "redirect":
            place = f"https://evil.example/?{marks.UPSTREAM_HEADER}"
            await exchange.answers(302, [*headers, ("location", place)], body)
        else:
            await exchange.answers(int(wish), headers, body)


@contextlib.contextmanager
def indiscreet() -> Iterator[str]:
    """Serve in a thread for the length of the block; yields the URL."""
    ready, over = threading.Event(), threading.Event()
    server = Indiscreet()

    async def serves() -> None:
        async with server:
            ready.set()
            await asyncio.to_thread(over.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serves()))
    thread.start()
    ready.wait()
    try:
        yield server.url
    finally:
        over.set()
        thread.join()


class Life:
    """A life of *machine*, with providers at *url*; *sinks* are what others may see of it."""

    def __init__(self, machine: World, url: str) -> None:
        self.machine = machine
        self.sinks: dict[str, bytes] = {}
        self.secrets: set[str] = set()
        self.statuses: dict[str, int] = {}
        self._url = url
        machine.variables |= marks.ENVIRONMENT

    def lives(self) -> None:
        """Live it, from the first start to the end."""
        self._settles_in()
        self._asks_all(_WISHES)
        self._is_asked_wrongly()
        self._tells(_COMMANDS)
        self._loses_the_login()
        self._breaks_the_configuration()
        self._is_looked_at()
        self.machine.bridge("--restart")
        self.machine.bridge("--stop")
        self._leaves()

    def lives_briefly(self) -> None:
        """Live no more of it than brings a secret near every sink."""
        self._settles_in()
        self._asks_all(("200",))
        self._tells((["config", "show"],))
        self._loses_the_login()
        self._is_looked_at()
        self.machine.bridge("--stop")
        self._leaves()

    @property
    def apart(self) -> list[Path]:
        """The files that are there to hold a secret."""
        home = self.machine.home
        own = [".local/state/bridge/key", ".config/bridge/config.toml", ".minimax.key", ".vault"]
        return [self.machine.credential, *(home / name for name in own)]

    def configuration(self, more: str = "") -> str:
        """Return the configuration: a key of each kind, headers, and a proxy for one row."""
        home = self.machine.home
        vault = f'["{home / ".vault"}", "{marks.COMMAND_WORD}"]'
        return "\n".join(
            [
                '[log]\nlevel = "debug"',
                f'[providers.kimi]\nheaders = {{ X-Gateway = "{marks.HEADER}" }}',
                f'[providers.minimax]\nanthropic = "{self._url}/m"\nopenai = "{self._url}/m/v1"',
                f'key = {{ file = "{home / ".minimax.key"}" }}',
                f'[providers.deepseek]\nanthropic = "{self._url}/d"\nopenai = "{self._url}/d/v1"',
                f"key = {{ command = {vault} }}",
                f'[providers.glm]\nanthropic = "{self._url}/g"\nopenai = "{self._url}/g/v1"',
                f'[providers.openrouter]\nproxy = "http://ada:{marks.PROXY}@127.0.0.1:9"',
                more,
            ]
        )

    def asks(self, path: str, **headers: str) -> int:
        """Send one request full of secrets; what comes back from bridge itself is a sink."""
        name = f"answer {len(self.statuses)} to {path}"
        query = f"{path}{'&' if '?' in path else '?'}key={marks.QUERY}"
        try:
            status, got, body = self.machine.ask(
                query, message(marks.PROMPT), headers={**marks.CLIENT, **headers}
            )
        except (OSError, ValueError, ArithmeticError):
            status, got, body = 0, {}, b""
        except Exception as error:  # noqa: BLE001 - http.client has many words for a cut answer
            status, got, body = 0, {}, type(error).__name__.encode()
        self.statuses[name] = status
        if "x-odd" not in got:  # what the provider says is the client's to see
            self.sinks[f"{name}: {status}"] = json.dumps(got).encode() + body
        else:
            timing = got.get("server-timing", "") + got.get("x-bridge-provider", "")
            self.sinks[f"marks of {name}"] = timing.encode()
        return status

    def _settles_in(self) -> None:
        machine = self.machine
        home = machine.home
        machine.configure(self.configuration())
        (home / ".minimax.key").write_text(f"{marks.FILE_KEY}\n")
        (home / ".minimax.key").chmod(0o600)
        script = f"#!/bin/sh\necho {marks.COMMAND_NOISE} >&2\necho {marks.COMMAND_KEY}\n"
        (home / ".vault").write_text(script)
        (home / ".vault").chmod(0o700)
        machine.bridge("token")
        machine.start()
        assert self.asks("/kimi/v1/messages") == 401
        assert machine.bridge("login", "--no-browser").returncode == 0
        machine.authorization.set(auto_approve=1_000_000)
        self._notes_tokens()
        self.secrets.add((home / ".local/state/bridge/key").read_text().strip())

    def _notes_tokens(self) -> None:
        document = self.machine.token()
        self.secrets |= {document["access_token"][-16:], document["refresh_token"][-16:]}

    def _asks_all(self, wishes: Sequence[str]) -> None:
        assert self.asks("/kimi/v1/messages") == 200
        self.machine.upstream.expect_401()
        assert self.asks("/kimi/v1/messages") == 200  # by a refresh
        self._notes_tokens()
        for provider in ("minimax", "deepseek", "glm"):
            for wish in wishes:
                self.asks(f"/{provider}/v1/messages?wish={wish}")
            self.asks(f"/{provider}/v1/chat/completions?wish=403")
        self.asks("/openrouter/v1/messages")  # its proxy is not there
        self.asks("/kimi/v1/messages/count_tokens")
        self.asks("/glm/v1/messages/count_tokens?wish=404")

    def _is_asked_wrongly(self) -> None:
        machine, secret = self.machine, marks.CLIENT["authorization"]
        self.asks("/nobody/v1/messages")
        self.asks("/kimi/v1/messages", Host="evil.example")
        self.asks("/kimi/v1/messages", Origin="https://evil.example")
        self.asks("/kimi/v1/messages", Upgrade="websocket", Connection="upgrade")
        for garbage in (
            f"GET / {secret}\r\n\r\n",
            f"POST /kimi/v1/messages HTTP/1.1\r\n{secret} : x\r\n\r\n",
            f"POST / HTTP/1.1\r\nAuthorization: {secret}\r\nContent-Length: x\r\n\r\n",
            f"POST /kimi/v1/messages HTTP/1.1\r\nX: {secret}\r\nTransfer-Encoding: a\r\n\r\n",
        ):
            with dial(machine.port) as wire:
                wire.sends(garbage.encode())
                wire.ends()
                self.sinks[f"answer to garbage {len(self.sinks)}"] = wire.rest()

    def _tells(self, commands: Iterable[list[str]]) -> None:
        """Let every command and page tell what it can; ``token`` prints its own and is apart."""
        machine = self.machine
        for words in commands:
            done = machine.bridge(*words)
            text = done.stdout + done.stderr
            if words[0] == "env":  # for eval: a client is to have the caller key, and nothing else
                text = text.replace(next(s for s in self.secrets if s.startswith("bridge-")), "")
                machine.outputs[-2:] = []
            self.sinks[f"bridge {' '.join(words)}"] = text.encode()
        for page in ("/health", "/metrics", "/", "/health?provider=minimax"):
            status, headers, body = machine.ask(page, method="GET", headers=marks.CLIENT)
            self.sinks[f"GET {page}: {status}"] = json.dumps(headers).encode() + body
        done = machine.bridge("token")
        assert done.stdout.strip() == machine.token()["access_token"]
        self.sinks["stderr of bridge token"] = done.stderr.encode()
        machine.outputs[-2:] = [done.stderr]

    def _loses_the_login(self) -> None:
        machine = self.machine
        good, document = machine.credential.read_bytes(), machine.token()
        mark = REFRESH_MARK
        changed = {**document, "expires_at": _NOW() - 1, "refresh_token": f"{mark}-no"}
        machine.credential.write_text(json.dumps(changed))
        words = f"{marks.SERVER_ERROR} {mark}-no is no good"
        for status, error in ((500, marks.SERVER_ERROR), (400, "invalid_grant")):
            body = json.dumps({"error": error, "error_description": words, "access": mark})
            for _ in range(3 if status == 500 else 1):
                machine.authorization.ask("answer", status=status, body=body)
            self.asks("/kimi/v1/messages")
            machine.bridge("--check", "kimi", "-v")
        machine.bridge("status")
        machine.credential.write_text(f'{{"access_token": "{ACCESS_MARK}-torn')
        self.asks("/kimi/v1/messages")
        machine.bridge("token")
        machine.credential.write_bytes(good)
        for name, text in (
            (".minimax.key", f"MINIMAX_API_KEY={marks.FILE_KEY}"),
            (".vault", "#!/bin/false\n"),
        ):
            (machine.home / name).write_text(text)
        self.asks("/minimax/v1/messages")
        self.asks("/deepseek/v1/messages")
        machine.bridge("providers")
        machine.bridge("doctor")

    def _breaks_the_configuration(self) -> None:
        machine = self.machine
        for wrong in (
            f'[network]\nproxy = "ftp://ada:{marks.PROXY}@127.0.0.1:9"',
            f'[providers.x]\nanthropic = "http://ada:{planted("url")}@evil.example"\n',
            f'[providers.kimi.headers]\nA = "{marks.HEADER}\\u0001"',
        ):
            machine.configure(self.configuration(wrong))
            for words in (["--reload"], ["config", "check"]):
                machine.bridge(*words)
        machine.bridge("doctor")
        machine.bridge("status")
        machine.configure(self.configuration())

    def _is_looked_at(self) -> None:
        """Take what the kernel shows of the daemon and of all it has started."""
        pid = self.machine.pid
        assert pid is not None
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            if entry.parent.name == str(os.getpid()):
                continue
            with contextlib.suppress(OSError):
                self.sinks[f"command line of {entry.parent.name}"] = entry.read_bytes()
        limits = Path(f"/proc/{pid}/limits").read_text()
        self.sinks["core limit"] = b"" if _is_zero(limits) else b"PLANTEDsecret: cores are written"

    def _leaves(self) -> None:
        machine = self.machine
        self.sinks |= marks.files(machine.home, self.apart)
        self.sinks |= {f"output {n}": text.encode() for n, text in enumerate(machine.outputs)}
        self.sinks["log and stderr"] = machine.log.encode()


def _is_zero(limits: str) -> bool:
    line = next(line for line in limits.splitlines() if line.startswith("Max core file size"))
    return line.split()[-3:-1] == ["0", "0"]
