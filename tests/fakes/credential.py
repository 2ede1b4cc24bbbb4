"""The credential file as the official CLI writes it, byte for byte; standard library only.

Neither knows bridge, so that a test which compares the two compares two opinions.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

KEYS = ("access_token", "refresh_token", "expires_at", "scope", "token_type", "expires_in")


def credential_file(share_dir: Path) -> Path:
    """Return where the credential is kept below *share_dir*."""
    return share_dir / "credentials" / "kimi-code.json"


def lock_file(share_dir: Path) -> Path:
    """Return the file whose flock guards the credential."""
    return share_dir / "credentials" / "kimi-code.lock"


def read_credential(share_dir: Path) -> dict[str, Any] | None:
    """Return the credential, or ``None`` for "not logged in": no file, or no JSON object in it."""
    try:
        document = json.loads(credential_file(share_dir).read_text())
    except (FileNotFoundError, ValueError):
        return None
    return document if isinstance(document, dict) else None


def write_credential(
    share_dir: Path, answer: Mapping[str, Any], now: float, **overrides: Any
) -> Path:
    """Save a token *answer* received at *now*: one line, these six keys, mode 0600, by replacement.

    *overrides* changes or adds keys of the document. Raises ``KeyError``, before anything is
    written, when the answer lacks a field, as the official CLI does.
    """
    lifetime = float(answer["expires_in"])
    found = {**answer, "expires_at": now + lifetime, "expires_in": lifetime}
    document = {**{key: found[key] for key in KEYS}, **overrides}
    path = credential_file(share_dir)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(json.dumps(document).encode())
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o600)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path
