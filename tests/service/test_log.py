"""The log: private, rotated, one record a line."""

from __future__ import annotations

import contextlib
import io
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.errors import ServiceError
from bridge.service import log as logs

log = logging.getLogger("bridge")


@pytest.fixture(autouse=True)
def _logging() -> Iterator[None]:
    """Put logging back as it was."""
    root = logging.getLogger()
    handlers, level, raises = root.handlers[:], root.level, logging.raiseExceptions
    factory = logging.getLogRecordFactory()
    yield
    for handler in set(root.handlers) - set(handlers):
        handler.close()
    root.handlers[:], logging.raiseExceptions = handlers, raises
    logging.setLogRecordFactory(factory)
    root.setLevel(level)
    log.setLevel(logging.NOTSET)


def test_private(tmp_path: Path) -> None:
    """Nobody else can read the log."""
    path = tmp_path / "state" / "bridge.log"
    logs.to_file(path, "info")
    log.info("daemon started")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text().endswith("INFO daemon started\n")


def test_a_value_cannot_forge_a_line(tmp_path: Path) -> None:
    """A line break in a value is written as such and begins no record."""
    path = tmp_path / "bridge.log"
    logs.to_file(path, "info")
    log.info("request answered path=%s", "/x\n2026-01-01 INFO daemon stopped")
    assert path.read_text().count("\n") == 1


def test_a_traceback_keeps_its_lines(tmp_path: Path) -> None:
    """A bug's traceback can be read, and its lines are told from records."""
    path = tmp_path / "bridge.log"
    logs.to_file(path, "info")
    try:
        raise RuntimeError("boom")
    except RuntimeError:
        log.exception("task ended")
    lines = path.read_text().splitlines()
    assert lines[0].endswith("ERROR task ended")
    assert all(line.startswith("    ") for line in lines[1:])


def test_bounded(tmp_path: Path) -> None:
    """However much is logged, the files stay within their limits and private."""
    path = tmp_path / "bridge.log"
    logs.to_file(path, "info")
    for _ in range(3000):
        log.info("x" * 10_000)
    files = list(tmp_path.iterdir())
    assert len(files) == logs.BACKUPS + 1
    assert sum(file.stat().st_size for file in files) <= logs.MAX_BYTES * (logs.BACKUPS + 1)
    assert all(file.stat().st_mode & 0o777 == 0o600 for file in files)


def test_level(tmp_path: Path) -> None:
    """What is logged follows the level, also when it is changed on the way."""
    path = tmp_path / "bridge.log"
    logs.to_file(path, "warning")
    log.info("unseen")
    logs.set_level("debug")
    log.debug("seen")
    assert [line.split()[-1] for line in path.read_text().splitlines()] == ["seen"]


@contextlib.contextmanager
def leading_to(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Lead stderr to *path*, and let ``JOURNAL_STREAM`` name that."""
    with path.open("w") as stream:
        status = path.stat()
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        monkeypatch.setattr(sys, "stderr", stream)
        yield


def test_the_journal_has_priorities_and_no_second_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal stamps each line itself; ours begin with the priority that it reads."""
    journal = tmp_path / "journal"
    with leading_to(journal, monkeypatch):
        logs.to_stderr("debug")
        for level in ("debug", "info", "warning", "error", "critical"):
            getattr(log, level)("daemon started")
    assert journal.read_text().splitlines() == [
        "<7>DEBUG daemon started",
        "<6>INFO daemon started",
        "<4>WARNING daemon started",
        "<3>ERROR daemon started",
        "<2>CRITICAL daemon started",
    ]


def test_each_line_of_a_traceback_has_its_priority(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal takes each line for an entry: all of a bug's traceback are errors."""
    journal = tmp_path / "journal"
    with leading_to(journal, monkeypatch):
        logs.to_stderr("info")
        try:
            raise RuntimeError("boom")
        except RuntimeError:
            log.exception("task ended")
    lines = journal.read_text().splitlines()
    assert lines[0] == "<3>ERROR task ended"
    assert len(lines) > 2
    assert all(line.startswith("<3>    ") for line in lines[1:])


@pytest.mark.parametrize("name", ["8:1", "", "nonsense"])
def test_a_journal_that_stderr_does_not_lead_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """What a redirected stderr has inherited is no journal: its lines have their time."""
    journal = tmp_path / "journal"
    with leading_to(journal, monkeypatch):
        monkeypatch.setenv("JOURNAL_STREAM", name)
        logs.to_stderr("info")
        log.info("daemon started")
    assert journal.read_text()[:2] == "20"
    assert journal.read_text().endswith(" INFO daemon started\n")


def test_a_stderr_that_is_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where stderr is nothing that the system knows, lines have their time."""
    monkeypatch.setenv("JOURNAL_STREAM", "8:1")
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    logs.to_stderr("info")
    log.info("daemon started")
    assert stream.getvalue().endswith(" INFO daemon started\n")


def test_nowhere_to_write(tmp_path: Path) -> None:
    """A log that cannot be written stops the start and is named."""
    (tmp_path / "file").touch()
    with pytest.raises(ServiceError, match=r"bridge\.log cannot be written"):
        logs.to_file(tmp_path / "file" / "bridge.log", "info")


def test_a_new_page_that_is_not_to_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that could not be opened anew (no descriptor, no disk) goes on once it can."""
    monkeypatch.setattr(logs, "MAX_BYTES", 200)
    path = tmp_path / "state" / "bridge.log"
    logs.to_file(path, "info")
    log.info("x" * 180)
    path.parent.rename(tmp_path / "gone")
    log.info("y" * 180)
    (tmp_path / "gone").rename(path.parent)
    log.info("healed")
    assert "healed" in path.read_text()
