"""``bridge config``: where it is, what is in force, what is wrong with it."""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path

import pytest

from bridge.cli import main

TEXT = """
[network]
proxy = "http://ada:hunter2@proxy:1"
[providers.kimi]
headers = { X-Team = "hunter2" }
[providers.my-gateway]
anthropic = "https://llm.example.org/v1"
key = [{ env = "BRIDGE_TEST_NO_KEY" }, { file = "~/no.key" }]
[providers.other]
openai = "https://llm.example.org/v1"
key = { command = ["pass", "hunter2"] }
"""


@pytest.fixture(name="file")
def _file(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration file of the person's, which sets this and that; no variable does."""
    for name in [name for name in os.environ if name.startswith("BRIDGE_")]:
        monkeypatch.delenv(name)
    file = home / "c.toml"
    file.write_text(TEXT)
    return file


def test_path(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The path is printed alone, of a file that need not exist nor be right."""
    assert main(["config", "path"]) == 0
    assert capsys.readouterr().out == f"{home}/.config/bridge/config.toml\n"
    (home / "c.toml").write_text("[[[")
    assert main(["config", "path", "--config", str(home / "c.toml")]) == 0
    assert capsys.readouterr().out == f"{home}/c.toml\n"


def test_show(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is in force is TOML with the origin of each value, and has no secret."""
    assert main(["--config", str(file), "--port", "4321", "config", "show"]) == 0
    out = capsys.readouterr().out
    assert "hunter2" not in out
    assert out.startswith(f"# {file}\n")
    shown = tomllib.loads(out)
    assert shown["server"]["port"] == 4321
    assert shown["providers"]["my-gateway"]["anthropic"] == "https://llm.example.org"
    told = {line.split(" ")[0]: line.rpartition("# ")[2] for line in out.splitlines()}
    assert told["port"] == "option --port"
    assert told["proxy"] == f"{file}:3"
    assert told["drain_seconds"] == "default"
    assert told["quirks"] == "built-in"


def test_show_without_a_file(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where there is no file, what is built in is shown, and that there is none."""
    assert main(["config", "show"]) == 0
    out = capsys.readouterr().out
    assert "does not exist" in out.splitlines()[0]
    assert next(iter(tomllib.loads(out)["providers"])) == "kimi"


def test_show_for_programs(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As JSON each value has its origin beside it."""
    assert main(["--config", str(file), "config", "show", "--json"]) == 0
    out = capsys.readouterr().out
    document = json.loads(out)
    assert (document["file"], document["exists"]) == (str(file), True)
    values = document["values"]
    assert values["network.proxy"] == {"value": "http://***@proxy:1", "origin": f"{file}:3"}
    assert values["providers.glm.aliases"] == {"value": ["zai"], "origin": "built-in"}
    assert "hunter2" not in out


def test_check(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A good file is good, with what may not be meant and which keys are not there yet."""
    monkeypatch.setenv("BRIDGE_PROT", "1")
    assert main(["--config", str(file), "config", "check"]) == 0
    remark, variable, note, good = capsys.readouterr().out.splitlines()
    assert remark.startswith(f"warning: {file}:7: providers.my-gateway.anthropic: its /v1 is left")
    assert variable == "warning: BRIDGE_PROT: unknown variable (did you mean BRIDGE_PORT?)"
    assert note == (
        f"note: {file}:8: providers.my-gateway.key: "
        "BRIDGE_TEST_NO_KEY is not set in this environment; ~/no.key does not exist yet"
    )
    assert good == f"good: {file}"


def test_check_with_a_key_in_one_place(
    home: Path, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One place that has the key is enough."""
    (home / "no.key").write_text("k")
    assert main(["--config", str(file), "config", "check"]) == 0
    assert "note:" not in capsys.readouterr().out


def test_check_without_a_file(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No file is a good configuration."""
    assert main(["config", "check"]) == 0
    assert capsys.readouterr().out == (
        f"good: {home}/.config/bridge/config.toml does not exist, and need not\n"
    )


def test_check_of_a_wrong_file(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each mistake is a line with file, line and key, and the code is that of a wrong one."""
    file.write_text("[server]\nprot = 1\n[providers.glm]\nkey = 'hunter2'\n")
    assert main(["--config", str(file), "config", "check"]) == 78
    captured = capsys.readouterr()
    assert captured.out == ""
    first, second = captured.err.splitlines()
    assert first == f"bridge: {file}:2: server.prot: unknown key (did you mean port?)"
    assert second.startswith(f"bridge: {file}:4: providers.glm.key: a key does not belong in this")
    assert "hunter2" not in captured.err


def test_check_of_the_way_out(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two ways to one host, or a proxy of the environment that is none, are told before a start."""
    file.write_text(
        "[providers.a]\nopenai = 'https://api.z.ai/v1'\nkey = { env = 'A' }\nproxy = 'http://p:1'\n"
    )
    assert main(["--config", str(file), "config", "check"]) == 78
    assert "give both the same proxy and ca_file" in capsys.readouterr().err
    file.write_text("")
    monkeypatch.setenv("HTTPS_PROXY", "socks5://127.0.0.1:1")
    assert main(["--config", str(file), "config", "check"]) == 78
    assert "HTTPS_PROXY" in capsys.readouterr().err
