"""Names this device to Kimi: the identity headers that its OAuth service and its API expect.

The device id is the official CLI's own file, because the service may bind a login to it; every
other value says honestly that this is bridge. Values are printable ASCII whatever the host is
called: a hostname with an umlaut breaks naive clients.
"""

from __future__ import annotations

import os
import platform
import uuid
from pathlib import Path

from bridge import __version__


class Device:
    """This machine as Kimi knows it, with the id in *path* (``device_id`` of the official CLI)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fallback = uuid.uuid4().hex

    @property
    def device_id(self) -> str:
        """The id in the file; where there is none, one that is the same until one is written."""
        try:
            text = self._path.read_text(encoding="ascii", errors="ignore").strip()
        except OSError:
            text = ""
        return text or self._fallback

    def persist(self) -> None:
        """Write the id if no file has one yet, for ever the same from then on.

        Raises ``OSError``. A neighbour that writes one at the same moment wins.
        """
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            descriptor = os.open(self._path, flags, 0o600)
        except FileExistsError:
            return
        with os.fdopen(descriptor, "w") as file:
            file.write(self._fallback)

    def headers(self) -> dict[str, str]:
        """Return the ``X-Msh-*`` headers."""
        system, machine = platform.system(), platform.machine()
        if system == "Darwin":
            model = f"macOS {platform.mac_ver()[0]} {machine}"
        else:
            model = f"{system} {platform.release()} {machine}"
        values = {
            "X-Msh-Platform": "bridge",
            "X-Msh-Version": __version__,
            "X-Msh-Device-Name": platform.node(),
            "X-Msh-Device-Model": model,
            "X-Msh-Os-Version": platform.version(),
            "X-Msh-Device-Id": self.device_id,
        }
        return {name: _ascii(value) for name, value in values.items()}

    def grant_headers(self) -> dict[str, str]:
        """Return the headers of requests to the authorization server."""
        return {"User-Agent": f"bridge/{__version__}", **self.headers()}


def _ascii(value: str) -> str:
    return "".join(c for c in value if " " <= c <= "~").strip() or "unknown"
