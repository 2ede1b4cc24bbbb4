"""Keeps unit files in a service manager's folder: written whole or not at all, and only ours."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from bridge.credentials.ownership import make_folder
from bridge.errors import ServiceError
from bridge.units.order import Made


class Folder:
    """The unit files at *path*; *made* tells which of them are ours, *is_dry* that none changes.

    *tell* hears of each change.
    """

    def __init__(
        self,
        path: Path,
        made: Callable[[bytes], Made | None],
        tell: Callable[[str], None],
        *,
        is_dry: bool = False,
    ) -> None:
        self.path = path
        self._made = made
        self._tell = tell
        self._is_dry = is_dry

    def content(self, name: str) -> bytes | None:
        """Return what the file *name* holds, ``None`` where there is none."""
        try:
            return (self.path / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._refusal(name, error) from None

    def made(self, name: str) -> Made | None:
        """Return what our file *name* says of itself, ``None`` where there is none of ours."""
        content = self.content(name)
        return None if content is None else self._made(content)

    def claim(self, name: str) -> None:
        """Raise ``ServiceError`` if the file *name* is there and somebody else's."""
        content = self.content(name)
        if content is not None and self._made(content) is None:
            raise ServiceError(
                f"{self.path / name} was not written by bridge service install: "
                "move it away or remove it, then try again"
            )

    def write(self, name: str, content: bytes) -> bool:
        """Let the file *name* hold *content*; return whether that was a change."""
        if self.content(name) == content:
            return False
        self._tell(f"write {self.path / name}")
        if not self._is_dry:
            try:
                make_folder(self.path)
                self._replace(name, content)
            except OSError as error:
                raise self._refusal(name, error) from None
        return True

    def remove(self, *names: str) -> bool:
        """Remove the files *names*, if they are there; return whether any was."""
        found = [name for name in names if os.path.lexists(self.path / name)]
        for name in found:
            self._tell(f"remove {self.path / name}")
            if not self._is_dry:
                try:
                    (self.path / name).unlink()
                except OSError as error:
                    raise self._refusal(name, error) from None
        return bool(found)

    def _replace(self, name: str, content: bytes) -> None:
        descriptor, new = tempfile.mkstemp(prefix=f".{name}.", dir=self.path)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                os.fchmod(file.fileno(), 0o644)  # there is no secret in it
                os.fsync(file.fileno())
            Path(new).rename(self.path / name)
        except BaseException:  # a draft must not stay behind, whatever stopped it
            Path(new).unlink()
            raise

    def _refusal(self, name: str, error: OSError) -> ServiceError:
        return ServiceError(
            f"{self.path / name} cannot be read or written ({error.strerror}): mend that, then "
            "try again"
        )
