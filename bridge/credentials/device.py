"""Names this device to Kimi: the identity headers that its OAuth service and its API expect.

The device id is the official CLI's own file, because the service may bind a login to it; every
other value says honestly that this is bridge. Values are printable ASCII whatever the host is
called: a hostname with an umlaut breaks naive clients.
"""

from __future__ import annotations

import contextlib
import os
import platform
import uuid
from pathlib import Path
from typing import Final

from bridge import __version__, plainfile

#: Bytes; an id has 32.
LONGEST: Final = 4096


class Device:
    """This machine as Kimi knows it, with the id in *path* (``device_id`` of the official CLI)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last = self._fallback = uuid.uuid4().hex

    @property
    def device_id(self) -> str:
        """The id in the file; where there is none, one that is the same until one is written.

        While the file cannot be read, the id that was read last.
        """
        with contextlib.suppress(OSError):
            self._last = self._written() or self._fallback
        return self._last

    def persist(self) -> None:
        """Write the id if no file has one yet, for ever the same from then on.

        Raises ``OSError``. A neighbour that writes one at the same moment wins.
        """
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._written():
            return
        temporary = self._path.with_name(f".{self._path.name}.{self._fallback}.tmp")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            with os.fdopen(os.open(temporary, flags, 0o600), "w") as file:
                file.write(self._fallback)
            self._publish(temporary)
        finally:
            temporary.unlink(missing_ok=True)

    def _publish(self, temporary: Path) -> None:
        try:
            self._path.hardlink_to(temporary)
        except FileExistsError:
            if not self._written():  # a crash cut short whoever made it
                temporary.replace(self._path)
        except OSError:  # pragma: no cover - a file system without hard links is hard to come by
            temporary.replace(self._path)

    def _written(self) -> str:
        try:
            if self._path.stat().st_uid != os.geteuid():
                return ""  # somebody else's idea of who we are
            return plainfile.read(self._path, LONGEST).decode("ascii", "ignore").strip()
        except FileNotFoundError:
            return ""

    def headers(self) -> dict[str, str]:
        """Return the ``X-Msh-*`` headers."""
        values = {
            "X-Msh-Platform": "bridge",
            "X-Msh-Version": __version__,
            "X-Msh-Device-Name": platform.node(),
            "X-Msh-Device-Model": _model(platform.uname(), platform.mac_ver()[0]),
            "X-Msh-Os-Version": platform.version(),
            "X-Msh-Device-Id": self.device_id,
        }
        return {name: _ascii(value) for name, value in values.items()}

    def grant_headers(self) -> dict[str, str]:
        """Return the headers of requests to the authorization server."""
        return {"User-Agent": f"bridge/{__version__}", **self.headers()}


def _model(host: platform.uname_result, macos: str) -> str:
    """Return the device model in the shape that the official CLI gives it."""
    if host.system == "Darwin":
        return f"macOS {macos} {host.machine}"
    return f"{host.system} {host.release} {host.machine}"


def _ascii(value: str) -> str:
    return "".join(c for c in value if " " <= c <= "~").strip() or "unknown"
