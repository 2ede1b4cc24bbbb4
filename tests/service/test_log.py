"""The log: private, rotated, one record a line."""

from __future__ import annotations

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


def test_stderr_for_a_manager(monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal stamps each line itself, so under it ours have no second time."""
    monkeypatch.setenv("JOURNAL_STREAM", "8:1")
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    logs.to_stderr("info")
    log.info("daemon started")
    assert stream.getvalue() == "INFO daemon started\n"


def test_nowhere_to_write(tmp_path: Path) -> None:
    """A log that cannot be written stops the start and is named."""
    (tmp_path / "file").touch()
    with pytest.raises(ServiceError, match=r"bridge\.log cannot be written"):
        logs.to_file(tmp_path / "file" / "bridge.log", "info")
