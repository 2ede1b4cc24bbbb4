"""Whoever edits a file, however he does it, is noticed; whoever does not, is not."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from pathlib import Path

import pytest

from bridge.service.reload import AGAIN_SECONDS, changes
from tests.fakes.clock import FakeClock


class Watcher:
    """A watch that speaks when the test says so; it remembers which folders it was set on."""

    def __init__(self) -> None:
        self.folders: asyncio.Queue[set[str]] = asyncio.Queue()
        self.closed = 0
        self._news: asyncio.Queue[Exception | None] = asyncio.Queue()

    async def __call__(self, folders: Iterable[str]) -> AsyncGenerator[object, None]:
        """Watch *folders* from now on."""
        self.folders.put_nowait(set(folders))
        try:
            while True:
                news = await self._news.get()
                if news is not None:
                    raise news
                yield set()
        finally:
            self.closed += 1

    def speak(self) -> None:
        """Say that something may have happened."""
        self._news.put_nowait(None)

    def break_down(self, error: Exception) -> None:
        """Fail as the system fails."""
        self._news.put_nowait(error)


class Ended:
    """A watch that is over before it begins."""

    async def __call__(self, folders: Iterable[str]) -> AsyncGenerator[object, None]:
        """Watch nothing."""
        for _ in ():
            yield set()


async def next_of(iterator: AsyncIterator[set[str]]) -> set[str]:
    """The next change."""
    return await anext(iterator)


async def begun(iterator: AsyncIterator[set[str]]) -> asyncio.Task[set[str]]:
    """Start to wait for the next change, and return once the watch is set."""
    waiting = asyncio.create_task(next_of(iterator))
    await asyncio.create_task(_nothing())  # tasks take their first step in the order of making
    return waiting


async def _nothing() -> None:
    """Take one turn of the loop."""


def write(file: Path, text: str) -> None:
    """Write the file, and the folders above it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


@pytest.fixture(name="file")
def _file(tmp_path: Path) -> Path:
    file = tmp_path / "config.toml"
    file.write_text("a")
    return file


async def test_an_edit_is_seen(file: Path) -> None:
    """A file that looks different is named, and only that one."""
    watcher = Watcher()
    seen = changes([str(file), str(file.with_name("other"))], watcher)
    write(file, "ab")
    watcher.speak()
    assert await next_of(seen) == {str(file)}
    assert watcher.folders.get_nowait() == {str(file.parent)}


async def test_noise_is_not_a_change(file: Path) -> None:
    """Other files in the folder, and news about nothing, yield nothing."""
    watcher = Watcher()
    waiting = await begun(changes([str(file)], watcher))
    write(file.with_name("noise"), "a")
    watcher.speak()
    watcher.speak()
    _remove(file)
    watcher.speak()
    assert await waiting == {str(file)}


async def test_the_first_look_is_taken_at_once(file: Path) -> None:
    """An edit between the call and the first step of the iteration is not lost."""
    watcher = Watcher()
    seen = changes([str(file)], watcher)
    write(file, "abc")
    watcher.speak()
    assert await next_of(seen) == {str(file)}


async def test_a_folder_that_is_made_later_is_watched(tmp_path: Path) -> None:
    """Until the folder exists the nearest one above it is watched, then the folder itself."""
    watcher = Watcher()
    file = tmp_path / "deep" / "down" / "config.toml"
    waiting = await begun(changes([str(file)], watcher))
    write(file.with_name("another"), "a")
    watcher.speak()
    assert await watcher.folders.get() == {str(tmp_path)}
    assert await watcher.folders.get() == {str(file.parent)}
    write(file, "a")
    watcher.speak()
    assert await waiting == {str(file)}
    assert watcher.closed == 1


async def test_the_target_of_a_link_is_watched(file: Path, tmp_path: Path) -> None:
    """A configuration that is linked from a folder of dot files is watched there as well."""
    elsewhere = tmp_path / "dotfiles"
    elsewhere.mkdir()
    link = file.with_name("link.toml")
    link.symlink_to(elsewhere / "config.toml")
    watcher = Watcher()
    seen = changes([str(link)], watcher)
    write(elsewhere / "config.toml", "a")
    watcher.speak()
    assert await next_of(seen) == {str(link)}
    assert watcher.folders.get_nowait() == {str(tmp_path), str(elsewhere)}


@pytest.mark.parametrize(
    "error",
    [
        OSError(24, "Too many open files"),
        RuntimeError("rust"),
        ExceptionGroup("tasks", [RuntimeError("rust")]),
    ],
)
async def test_a_watch_that_breaks_is_logged(
    file: Path, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    """When the system will not watch (inotify limit), one line says so, and it is asked again.

    What has changed by then is found all the same.
    """
    watcher, clock = Watcher(), FakeClock()
    for _ in range(2):
        watcher.break_down(error)
    with caplog.at_level(logging.WARNING, "bridge"):
        waiting = await begun(changes([str(file)], watcher, clock))
        await clock.sleepers()
        clock.advance(AGAIN_SECONDS)
        await clock.sleepers()
        write(file, "ab")
        clock.advance(AGAIN_SECONDS)
        assert await waiting == {str(file)}
    assert [record.getMessage() for record in caplog.records] == [
        f"files cannot be watched, changes are seen later reason={error}"
    ]


async def test_a_watch_that_broke_works_again(file: Path) -> None:
    """Once the system watches again, news come at once as before."""
    watcher, clock = Watcher(), FakeClock()
    watcher.break_down(OSError(24, "Too many open files"))
    waiting = await begun(changes([str(file)], watcher, clock))
    await clock.sleepers()
    clock.advance(AGAIN_SECONDS)
    assert await watcher.folders.get() == await watcher.folders.get()
    write(file, "ab")
    watcher.speak()
    assert await waiting == {str(file)}


async def test_a_watch_that_ends_ends_the_iteration(file: Path) -> None:
    """A watch without news for good is not begun again and again."""
    assert [change async for change in changes([str(file)], Ended())] == []


def _replace(file: Path) -> None:
    file.with_name(".config.toml.swp").write_text("new")
    file.with_name(".config.toml.swp").replace(file)


def _append(file: Path) -> None:
    with file.open("a") as open_file:
        open_file.write("more")


def _remove(file: Path) -> None:
    file.unlink()


@pytest.mark.parametrize("edit", [_replace, _append, _remove])
async def test_the_kernel_tells_of_every_kind_of_edit(
    file: Path, edit: Callable[[Path], None]
) -> None:
    """Replaced, rewritten or removed: the real watch notices, and leaves nothing behind."""
    waiting = await begun(changes([str(file)]))
    edit(file)
    assert await waiting == {str(file)}


async def test_the_real_watch_follows_into_a_new_folder(tmp_path: Path) -> None:
    """A first login makes folder and file at once; that is seen without waiting for the clock."""
    file = tmp_path / "credentials" / "kimi-code.json"
    waiting = await begun(changes([str(file)]))
    write(file, "{}")
    assert await waiting == {str(file)}


async def test_the_real_watch_ends_when_it_is_cancelled(file: Path) -> None:
    """Cancellation ends the watch at once."""
    waiting = await begun(changes([str(file)]))
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
