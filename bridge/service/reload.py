"""Says which of a few files have changed, as soon as the kernel knows.

Folders are watched and not files, because editors and careful programs replace files; what counts
is whether a file looks different afterwards, so a watcher that wakes up for nothing, or late, does
no harm. The room does not read the files and knows nothing of their content; it is the only one
that knows watchfiles.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Final

import watchfiles

from bridge.clock import Clock, SystemClock

log = logging.getLogger("bridge")

#: Without news the files are looked at all the same: another machine's writes to a shared home,
#: or a folder that was made a moment before it was watched, send none.
LOOK_SECONDS: Final = 5
#: Where the system will not watch, the files are looked at so often, and it is asked again.
AGAIN_SECONDS: Final = 30.0
#: So often the thread that watches asks for news: with the 50 that it does by itself it would wake
#: an idle laptop twenty times a second.
STEP_MILLISECONDS: Final = 250

#: Yields whenever something may have happened in the given folders, and now and then anyway.
Watch = Callable[[Iterable[str]], AsyncGenerator[object, None]]


def _kernel_news(folders: Iterable[str]) -> AsyncGenerator[object, None]:
    return watchfiles.awatch(
        *folders,
        watch_filter=None,
        recursive=False,
        yield_on_timeout=True,
        rust_timeout=LOOK_SECONDS * 1000,
        step=STEP_MILLISECONDS,
    )


def changes(
    paths: Iterable[str], watch: Watch = _kernel_news, clock: Clock | None = None
) -> AsyncIterator[set[str]]:
    """Yield those of *paths* that were written, replaced, made or removed, again and again.

    Compares with what the files look like when this is called. Files and their folders need not
    exist. Where the system will not watch (its limit of inotify instances or of descriptors, for
    two), a line in the log says so, and by *clock* the files are looked at now and then until it
    will. Ends with a watch that ends of itself. Cancellation leaves nothing behind.
    """
    return _follow({path: _look(path) for path in paths}, watch, clock or SystemClock())


_Look = tuple[int, int, int] | None


async def _follow(seen: dict[str, _Look], watch: Watch, clock: Clock) -> AsyncIterator[set[str]]:
    is_told = False
    while True:
        folders = _folders(seen)
        try:
            async with contextlib.aclosing(watch(folders)) as news:
                async for _ in news:
                    is_told = False
                    if changed := _update(seen):
                        yield changed
                    if _folders(seen) != folders:  # made, removed, linked elsewhere: watch anew
                        break
                else:
                    return
        except (OSError, RuntimeError, ExceptionGroup) as error:  # a group: from awatch's own tasks
            if not is_told:
                log.warning("files cannot be watched, changes are seen later reason=%s", error)
            is_told = True
            await clock.sleep(AGAIN_SECONDS)
            if changed := _update(seen):
                yield changed


def _update(seen: dict[str, _Look]) -> set[str]:
    now = {path: _look(path) for path in seen}
    changed = {path for path in seen if now[path] != seen[path]}
    seen.update(now)
    return changed


def _look(path: str) -> _Look:
    try:
        status = os.stat(path)  # noqa: PTH116 - the same for str, and the paths are
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def _folders(paths: Iterable[str]) -> frozenset[str]:
    """Return the folders to watch: of each path, and of the file it links to.

    Where there is no such folder yet, the nearest one above it counts.
    """
    return frozenset(
        str(next(folder for folder in Path(place).absolute().parents if folder.is_dir()))
        for path in paths
        for place in (path, os.path.realpath(path))
    )
