"""What the daemon's environment lacks is told by name."""

from __future__ import annotations

from bridge.doctor.judging.surroundings import judge, names_of_interest
from bridge.providers import KeyPlace
from tests.doctor.rows import ROWS, levels, only, row

KEY = "MINIMAX_API_KEY"


def test_names_of_interest() -> None:
    """The variables are those of the rows, and those that decide about the way out."""
    names = names_of_interest(ROWS.values())
    assert {KEY, "GLM_API_KEY", "HTTPS_PROXY", "SSL_CERT_FILE"} <= names
    assert "HOME" not in names


def test_no_daemon() -> None:
    """Without a daemon, or where the system tells nothing, there is nothing to compare."""
    assert list(judge({KEY}, None, ROWS, {"minimax": KEY})) == []


def test_the_same_environment() -> None:
    """A daemon that was started from this shell lacks nothing."""
    assert levels(judge({KEY}, {KEY}, ROWS, {"minimax": KEY})) == ["ok"]
    assert levels(judge(set(), {KEY}, ROWS, {"minimax": "~/.minimax.key"})) == ["ok"]


def test_a_key_that_the_daemon_never_saw() -> None:
    """A key of the shell that is not in the daemon's environment is told with both ways out."""
    finding = only(judge({KEY}, set(), ROWS, {"minimax": KEY}))
    assert finding.level == "warn"
    assert f"{KEY} is set in this shell but not in the daemon's environment" in finding.text
    assert finding.mend == (
        "put the key into ~/.minimax.key (mode 0600), "
        "or start the daemon from this shell: bridge --restart"
    )


def test_a_key_that_does_not_count_here_either() -> None:
    """Where another place comes before the variable, the daemon misses nothing."""
    file_first = row("x", keys=(KeyPlace(file="~/k"), KeyPlace(env="X_KEY")))
    found = {"x": "~/k"}
    assert levels(judge({"X_KEY"}, set(), {"x": file_first}, found)) == ["ok"]


def test_a_provider_with_variables_only() -> None:
    """Where no file is a place, one is advised."""
    other = row("x", keys=(KeyPlace(env="X_KEY"),))
    assert (
        "keep the key in a file" in only(judge({"X_KEY"}, set(), {"x": other}, {"x": "X_KEY"})).mend
    )


def test_ways_out() -> None:
    """A proxy that only one of the two goes through is told, whichever it is."""
    for shell, daemon in ((["HTTPS_PROXY"], []), ([], ["HTTPS_PROXY"])):
        finding = only(judge(shell, daemon, ROWS, {}))
        assert finding.level == "warn"
        assert "HTTPS_PROXY is set in" in finding.text
        assert "bridge --restart" in finding.mend
