"""Runs a program for what it prints: no shell, no input, no terminal, and an end in any case.

What it says on its standard error is thrown away, because it may hold a secret; people are told
the exit code and to run it themselves.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from typing import Final, cast

from bridge.clock import Clock, within
from bridge.errors import CredentialUnreadable

#: Bytes of output beyond which a program prints something else than a key.
LIMIT: Final = 64 * 1024
#: Seconds for which the output of a program that has ended is waited for; it is in the pipe, but a
#: helper that it left behind may keep the pipe open for ever.
REST_SECONDS: Final = 0.2


async def printed(
    words: Sequence[str],
    environment: Mapping[str, str],
    clock: Clock,
    *,
    name: str,
    seconds: float,
) -> bytes:
    """Return what the program and arguments in *words* print, once it has ended well.

    It runs in a session of its own, in the root folder. After *seconds*, or when the caller is
    cancelled, it is killed with all that it has started. Raises ``CredentialUnreadable``, in which
    it is called *name*.
    """
    program = shutil.which(words[0], path=environment.get("PATH", os.defpath))
    if program is None:
        raise CredentialUnreadable(
            f"{name} is no program that the daemon can run: write its absolute path"
        )
    run = await _start([program, *words[1:]], environment, name)
    try:
        if not await within(clock, seconds, run.ended):
            raise CredentialUnreadable(
                f"{name} has not ended within {seconds:g} s: run it in a terminal to see what it "
                "waits for (it gets no input here)"
            )
        await within(clock, REST_SECONDS, run.closed)
    finally:
        await run.close()
    if len(run.output) > LIMIT:
        raise CredentialUnreadable(f"{name} prints more than a key: let it print the key alone")
    if code := run.ended.result():
        how = f"ended with exit code {code}" if code > 0 else f"was ended by signal {-code}"
        raise CredentialUnreadable(f"{name} {how}: run it in a terminal to see why")
    return bytes(run.output)


class _Run(asyncio.SubprocessProtocol):
    """One program that runs: what it has printed, and whether it has *ended* (with which code)."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.output = bytearray()
        self.ended: asyncio.Future[int] = loop.create_future()
        self.closed: asyncio.Future[None] = loop.create_future()
        self._transport: asyncio.SubprocessTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.SubprocessTransport", transport)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        del fd  # only its output is piped
        self.output += data
        if len(self.output) > LIMIT:
            self._kill()

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        del fd, exc
        if not self.closed.done():
            self.closed.set_result(None)

    def process_exited(self) -> None:
        code = self._transport.get_returncode() if self._transport else None
        if not self.ended.done():
            self.ended.set_result(code or 0)

    async def close(self) -> None:
        """Kill it if it runs, with its whole group, and let go of its pipe."""
        if not self.ended.done():
            self._kill()
            await asyncio.wait([self.ended])
        if self._transport is not None:
            self._transport.close()

    def _kill(self) -> None:
        if self._transport is not None and not self.ended.done():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._transport.get_pid(), signal.SIGKILL)


async def _start(words: Sequence[str], environment: Mapping[str, str], name: str) -> _Run:
    try:
        _, run = await asyncio.get_running_loop().subprocess_exec(
            _Run,
            *words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=dict(environment),
            cwd="/",
            start_new_session=True,
        )
    except OSError as error:
        raise CredentialUnreadable(
            f"{name} cannot be started ({error.strerror}): mend that, then try again"
        ) from None
    return run
