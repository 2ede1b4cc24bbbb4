"""Which of several places has the last word, and in which order mistakes are told."""

from __future__ import annotations

import pytest

from bridge.config.reading import unknown_variables
from tests.configured import FILE, complaint, configured


def test_order_of_places() -> None:
    """An option wins over the environment, the environment over the file."""
    text = "[server]\nport = 1\n\n[log]\nlevel = 'error'\n"
    environment = {"BRIDGE_PORT": "2", "BRIDGE_LOG_LEVEL": "debug"}
    file = configured(text)
    assert (file.server.port, file.origins["server.port"]) == (1, f"{FILE}:2")
    assert file.origins["log.level"] == f"{FILE}:5"
    env = configured(text, environment)
    assert (env.server.port, env.origins["server.port"]) == (2, "env BRIDGE_PORT")
    option = configured(text, environment, {"port": 3, "log_level": None, "foreground": True})
    assert (option.server.port, option.origins["server.port"]) == (3, "option --port")
    assert (option.log_level, option.origins["log.level"]) == ("debug", "env BRIDGE_LOG_LEVEL")


def test_the_file_lies_on_the_catalogue() -> None:
    """What the file says of a provider changes that one key; the others stay built in."""
    config = configured("[providers.glm]\ntitle = 'Mine'\n")
    assert config.providers["glm"].title == "Mine"
    assert config.origins["providers.glm.title"] == f"{FILE}:2"
    assert config.origins["providers.glm.anthropic"] == "built-in"
    assert config.origins["providers.glm.auth"] == "default"


def test_empty_variable() -> None:
    """A variable that is set to nothing counts as not set."""
    assert configured("", {"BRIDGE_PORT": ""}).origins["server.port"] == "default"


def test_unknown_variable() -> None:
    """A variable that looks like ours is warned of; those that name files are known."""
    environment = {"BRIDGE_PROT": "1", "BRIDGE_CONFIG": "/c", "BRIDGE_PID_FILE": "/p"}
    said = "BRIDGE_PROT: unknown variable (did you mean BRIDGE_PORT?)"
    assert configured("", environment).warnings == (said,)
    assert list(unknown_variables({"BRIDGE_QQQQQQQQQQ": "", "PATH": ""})) == [
        "BRIDGE_QQQQQQQQQQ: unknown variable"
    ]


def test_remarks() -> None:
    """What is accepted and may not be meant is a warning, once, with its place."""
    warnings = configured(
        "[providers.a]\nanthropic = 'https://a/v1/'\nopenai = 'https://a'\nkey = { env = 'A' }"
    ).warnings
    left_out, lacking = warnings
    assert left_out == f"{FILE}:2: providers.a.anthropic: its /v1 is left out, as clients add one"
    assert lacking == (
        f"{FILE}:3: providers.a.openai: requests go to https://a/chat/completions: "
        "add /v1 if the provider wants it"
    )


def test_entries_stand_in_the_order_of_the_keys() -> None:
    """Keys of one table stand together, general ones first, then each provider's."""
    tables = [entry.path[:2] for entry in configured().entries if entry.path[0] == "providers"]
    assert tables == sorted(tables, key=[*dict.fromkeys(tables)].index)
    assert configured().entries[0].path == ("server", "port")


def test_all_mistakes_at_once() -> None:
    """Every mistake is told in the order of the lines, and those outside of the file come last."""
    text = (
        '[log]\nlevel = "loud"\n[server]\nprot = 1\nport = "x"\n'
        "[providers.kimi]\nregion = 'eu'\nkey = 'k'\n"
    )
    lines = complaint(text, {"BRIDGE_PORT": "y"}).splitlines()
    places = [line.removeprefix(f"{FILE}:").split(":")[0] for line in lines]
    assert places == ["2", "4", "5", "7", "8", "BRIDGE_PORT"]


def test_one_mistake_of_one_variable() -> None:
    """A variable that two keys hang on is complained of once."""
    said = complaint("", {"KIMI_CODE_BASE_URL": "http://kimi.example"})
    assert said.startswith("KIMI_CODE_BASE_URL: 'http://kimi.example' would carry the credential")
    assert "\n" not in said


def test_wrong_key_under_an_override() -> None:
    """A wrong value in the file is told even where an option hides it."""
    assert "not 0" in complaint("server.port = 0", {}, {"port": 80})


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("[providers.a]\nopenai = 'http://a'\nkey = { env = 'A' }", "needs anthropic"),
        ("[providers.a]\nopenai = 'https://a/v1'\nkey = 'k'", "needs a key"),
    ],
)
def test_a_wrong_value_is_not_told_as_a_missing_one(text: str, missing: str) -> None:
    """Who wrote a key wrongly is told of that alone, and not that it is missing."""
    assert missing not in complaint(text)
