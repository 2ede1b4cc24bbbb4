"""What can be known without a daemon; with one, see commands/test_status.py."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from bridge.errors import ConfigError
from bridge.service.account import journal_file
from bridge.status.gathering import gathered
from bridge.status.places import located
from tests.fakes.clock import EPOCH, FakeClock
from tests.ports import free_port


def test_the_login_in_the_file_is_told(home: Path) -> None:
    """Whether it is good, how long its token lives and when it was saved; never the token."""
    file = home / ".kimi/credentials/kimi-code.json"
    file.parent.mkdir(parents=True, mode=0o700)
    token = {"access_token": "AAAAsecret", "refresh_token": "RRRRsecret", "expires_in": 900}
    file.write_text(json.dumps({**token, "expires_at": EPOCH + 600}))
    file.chmod(0o600)
    os.utime(file, (EPOCH - 300, EPOCH - 300))
    document = gathered({}, free_port(), FakeClock())
    kimi = document["providers"]["kimi"]
    assert kimi["ready"]
    assert kimi["expires_in_seconds"] == 600
    assert kimi["saved_at"] == EPOCH - 300
    assert kimi["login_ends_at"] > EPOCH
    assert document["daemon"] is None
    assert not document["log"]["exists"]
    assert "secret" not in json.dumps(document)


@pytest.mark.parametrize("state", ["spoilt", "gone"])
def test_a_login_that_is_no_good_is_told(home: Path, state: str) -> None:
    """A file that nobody can use, and none; a journal that is garbage stays where it is."""
    file = home / ".kimi/credentials/kimi-code.json"
    journal = journal_file(located({}))
    for path in (file, journal):
        path.parent.mkdir(parents=True, mode=0o700)
        path.write_text("spoilt")
        path.chmod(0o600)
    if state == "gone":
        file.unlink()
    before = sorted(home.rglob("*"))
    kimi = gathered({}, free_port(), FakeClock())["providers"]["kimi"]
    assert not kimi["ready"]
    assert "bridge login" in kimi["problem"]
    assert ("saved_at" in kimi) is (state == "spoilt")
    assert sorted(home.rglob("*")) == before


def test_a_row_of_ones_own_is_told(home: Path) -> None:
    """The configuration that was named counts, as for the daemon."""
    config = home / "c.toml"
    config.write_text('[providers.mine]\nopenai = "https://x.example/v1"\nkey = { env = "MY" }\n')
    document = gathered({"config": str(config)}, free_port(), FakeClock())
    assert document["providers"]["mine"]["ready"] is False
    assert document["configuration"] == {"path": str(config), "exists": True, "problem": None}


def test_a_home_is_needed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without one nobody knows where to look."""
    monkeypatch.delenv("HOME")
    with pytest.raises(ConfigError, match="HOME"):
        gathered({}, 1, FakeClock())
