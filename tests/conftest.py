"""Fixtures named for the thing; ``async def`` tests run on a loop of their own."""

from __future__ import annotations

import inspect
import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.fakes import loop
from tests.secrets.session import spilt
from tests.world import FOREIGN


def pytest_configure() -> None:
    """Let children be interrupted, and time nothing: how fast is for the benchmarks to say."""
    # Whoever runs the tests in the background has Ctrl-C ignored.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    settings.register_profile(
        "untimed", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
    )
    settings.load_profile("untimed")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a coroutine test to its end, on a loop that complains about what is left behind."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    loop.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True


def pytest_report_header() -> str:
    """Say which loop the tests run on."""
    return f"event loop: {loop.NAME}"


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the run if a secret is in a log that any daemon of it wrote (BRIDGE_TEST_TRIPWIRE=1)."""
    if os.environ.get("BRIDGE_TEST_TRIPWIRE") != "1" or hasattr(session.config, "workerinput"):
        return
    factory: pytest.TempPathFactory = session.config._tmp_path_factory  # type: ignore[attr-defined]
    if found := spilt(factory.getbasetemp()):
        print("secrets were spilt into:", *found, sep="\n")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(name="home")
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder of the test's own, with no proxy or provider variable of the developer's."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name in [name for name in os.environ if name.startswith(FOREIGN)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    return home
