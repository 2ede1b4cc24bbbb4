"""The daemon's log for people: its end, what follows, and who else may have it."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bridge.commands.logs import logs
from bridge.errors import ServiceError, UsageError
from bridge.service.record import ourselves
from bridge.units.label import SERVICE
from tests.world import installed

LINES = [f"2027-01-15 12:00:00,000 INFO line {number}\n" for number in range(100)]


@pytest.fixture(name="log")
def _log(home: Path) -> Path:
    path = home / ".local/state/bridge/bridge.log"
    path.parent.mkdir(parents=True)
    path.write_text("".join(LINES))
    return path


@contextmanager
def kept_by(home: Path, keeper: str, *, age: float = 0.0) -> Iterator[None]:
    """Let a daemon run that *keeper* keeps, and that came *age* seconds after the log's end."""
    path = home / ".local/run/bridge.pid"
    path.parent.mkdir(parents=True)
    record = ourselves(address="127.0.0.1", port=1, instance="i", version="1")
    text = record.text()
    kept = [line for line in text.splitlines() if not line.startswith("keeper=")]
    path.write_text("\n".join([*kept, f"keeper={keeper}", ""]))
    moment = (home / ".local/state/bridge/bridge.log").stat().st_mtime + age
    os.utime(path, (moment, moment))
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def command(*words: str, **variables: str) -> subprocess.Popen[str]:
    """Start the installed command with a pipe to read from."""
    return subprocess.Popen(
        [installed(), "logs", *words],
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("wanted", [0, 1, 50, 1000])
def test_the_last_lines(log: Path, capfd: pytest.CaptureFixture[str], wanted: int) -> None:
    """As many as there are, at most."""
    assert logs({}, follow=False, lines=wanted) == 0
    assert capfd.readouterr() == ("".join(LINES[max(0, 100 - wanted) :]), "")


def test_no_log_yet(home: Path) -> None:
    """One line that says what to do."""
    with pytest.raises(ServiceError, match=r"no log yet .*: start the daemon with: bridge"):
        logs({}, follow=False, lines=5)
    with pytest.raises(UsageError):
        logs({}, follow=False, lines=-1)


def test_a_log_that_cannot_be_read(home: Path) -> None:
    """A folder in its place is one line as well."""
    (home / ".local/state/bridge/bridge.log").mkdir(parents=True)
    with pytest.raises(ServiceError, match="cannot be read"):
        logs({}, follow=False, lines=5)


def test_it_follows(log: Path) -> None:
    """What comes is printed as it comes, across a new file, until interrupted."""
    with command("-f", "-n", "2") as child:
        assert child.stdout is not None
        assert [child.stdout.readline() for _ in range(2)] == LINES[-2:]
        with log.open("a") as file:
            file.write("more\n")
        assert child.stdout.readline() == "more\n"
        log.rename(log.with_name("bridge.log.1"))
        log.write_text("anew\n")
        assert child.stdout.readline() == "anew\n"
        child.send_signal(signal.SIGINT)
        assert child.wait() == 0
        assert child.stderr is not None
        assert child.stderr.read() == ""


def test_it_waits_for_a_log(home: Path) -> None:
    """Who follows may come before the daemon."""
    with command("-f") as child:
        assert child.stdout is not None
        assert child.stderr is not None
        assert "no log yet" in child.stderr.readline()
        path = home / ".local/state/bridge/bridge.log"
        path.parent.mkdir(parents=True)
        path.write_text("first\n")
        assert child.stdout.readline() == "first\n"
        child.terminate()


@pytest.mark.parametrize("words", [["-n", "1000000"], ["-f", "-n", "1"]])
def test_a_reader_that_leaves(log: Path, words: list[str]) -> None:
    """``| head`` ends it without a word, also while nothing comes."""
    log.write_text("".join(LINES) * 300)
    with command(*words) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        assert child.stdout.readline() in LINES
        child.stdout.close()
        assert child.wait() in {0, 141}
        assert child.stderr.read() == ""


def test_the_journal_has_it(log: Path, home: Path, tmp_path: Path) -> None:
    """Under systemd its own reader takes over; where that is missing, it is named."""
    program = tmp_path / "bin/journalctl"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\necho "$0" "$@"\nexit 7\n')
    program.chmod(0o755)
    with kept_by(home, "systemd"):
        with command("-f", "-n", "3", PATH=f"{program.parent}:{os.environ['PATH']}") as child:
            out, _ = child.communicate()
            assert child.returncode == 7
            assert out == f"{program} --user -u {SERVICE} -f -n 3\n"
        with command(PATH=str(Path(sys.executable).parent)) as child:
            _, err = child.communicate()
            assert child.returncode == 1
            assert err == (
                "bridge: the log is the journal's: read it with: "
                f"journalctl --user -u {SERVICE} -n 50\n"
            )


@pytest.mark.parametrize(
    ("keeper", "age", "said"),
    [
        ("hand", 0, ""),
        ("hand", -3600, ""),
        ("hand", 3600, f"if systemd keeps it: journalctl --user -u {SERVICE} -n 1\n"),
        ("foreground", 0, "on the terminal or wherever its stderr goes\n"),
    ],
)
def test_a_daemon_that_does_not_write_it(
    log: Path, capfd: pytest.CaptureFixture[str], keeper: str, age: float, said: str
) -> None:
    """A log older than the daemon is shown, and said to be old."""
    with kept_by(log.parents[3], keeper, age=age):
        assert logs({}, follow=False, lines=1) == 0
    out, err = capfd.readouterr()
    assert out == LINES[-1]
    expected = f"bridge: pid {os.getpid()} does not write {log}: see {said}" if said else ""
    assert err == expected
