"""Says whether credential files are this user's to read and write, and makes their folder.

Files of another user are refused with the name of that user, and root leaves nothing of its own in
somebody else's home. The room knows nothing of what the files hold.
"""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path
from typing import Final

from bridge.errors import CredentialUnreadable

#: Bytes; a credential has one or two thousand.
LIMIT: Final = 1024 * 1024


def check_file(path: Path, status: os.stat_result) -> None:
    """Raise ``CredentialUnreadable`` unless *path*, of *status*, can be a credential of ours."""
    if not stat.S_ISREG(status.st_mode):
        raise CredentialUnreadable(f"{path} is not a file: remove it, then run: bridge login")
    if status.st_uid != os.geteuid():
        owner = _user(status.st_uid)
        raise CredentialUnreadable(
            f"{path} belongs to {owner}, not to {_user(os.geteuid())}: "
            f"run bridge as {owner}, or give the file to the right user with chown"
        )
    if status.st_size > LIMIT:
        raise CredentialUnreadable(
            f"{path} is larger than any credential: restore it, or run: bridge login"
        )


def make_folder(folder: Path) -> None:
    """Make *folder* and what is missing above it, for this user alone.

    Raises ``CredentialUnreadable`` where root would leave files in another user's home, and
    ``OSError``.
    """
    existing = next(p for p in (folder, *folder.parents) if p.exists())
    owner = existing.stat().st_uid
    if os.geteuid() == 0 and owner != 0:
        raise CredentialUnreadable(
            f"{existing} belongs to {_user(owner)} and this is root: "
            f"run bridge as {_user(owner)}, so that no file of root's is left there"
        )
    for missing in (folder.parent, folder):
        missing.mkdir(mode=0o700, parents=True, exist_ok=True)


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
