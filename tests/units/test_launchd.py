"""What is in launchd's agent, by the rules of launchd.plist(5); macOS itself is not to be had."""

from __future__ import annotations

import plistlib
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import ServiceError
from bridge.units import launchd
from bridge.units.label import LABEL
from bridge.units.order import Made, Order
from bridge.units.shipped import template

ORDER = Order(
    program="/opt/bridge/bin/kimi-bridge",
    version="1.2",
    port=18462,
    environment={"BRIDGE_PORT": "77"},
    logs="/Users/me/Library/Logs",
)
#: launchd.plist(5), as far as it is used.
KEYS: dict[str, type] = {
    "Label": str,
    "ProgramArguments": list,
    "EnvironmentVariables": dict,
    "RunAtLoad": bool,
    "KeepAlive": dict,
    "ThrottleInterval": int,
    "ExitTimeOut": int,
    "ProcessType": str,
    "Umask": int,
    "SoftResourceLimits": dict,
    "StandardOutPath": str,
    "StandardErrorPath": str,
}
text = st.text(st.characters(exclude_categories=["C"]))


def agent(order: Order = ORDER) -> bytes:
    """The agent."""
    return launchd.agent(template(f"{LABEL}.plist"), order)


def document(order: Order = ORDER) -> dict[str, Any]:
    """What is in the agent."""
    loaded: dict[str, Any] = plistlib.loads(agent(order))
    return loaded


def test_schema() -> None:
    """Each key is one that launchd knows, of the type that it wants."""
    made = document()
    assert {key: type(value) for key, value in made.items()} == KEYS
    assert made["Label"] == LABEL
    assert made["KeepAlive"] == {"SuccessfulExit": False}
    assert made["ProcessType"] in {"Background", "Standard", "Adaptive", "Interactive"}
    assert made["Umask"] == 0o077
    assert made["SoftResourceLimits"]["Core"] == 0
    assert made["ExitTimeOut"] > 30 + 100


def test_gaps() -> None:
    """What is to be run, with what, and where a failed start says why."""
    made = document()
    assert made["ProgramArguments"] == [ORDER.program, "--foreground"]
    assert made["EnvironmentVariables"] == {"BRIDGE_PORT": "77"}
    assert made["StandardErrorPath"] == "/Users/me/Library/Logs/bridge-start.log"
    assert b"@" not in agent()


@given(program=text, values=st.lists(text))
def test_round_trip(program: str, values: list[str]) -> None:
    """Whatever a path or value is, launchd gets that very one, and the mark can be read."""
    environment = {f"NAME_{number}": value for number, value in enumerate(values)}
    order = replace(ORDER, program=program, environment=environment)
    made = document(order)
    assert made["ProgramArguments"][0] == program.replace("@LOGS@", ORDER.logs)
    assert made["EnvironmentVariables"] == environment
    assert launchd.made(agent(order)) == Made(made["ProgramArguments"][0], "1.2")


@pytest.mark.parametrize("odd", ["a\x00", "a\x07", "\udcff"])
def test_what_cannot_be_said(odd: str) -> None:
    """What XML cannot hold is refused."""
    with pytest.raises(ServiceError, match="control characters"):
        agent(replace(ORDER, program=odd))


def test_of_others() -> None:
    """An agent without the mark is somebody else's; one that is broken says nothing."""
    assert launchd.made(plistlib.dumps({"Label": LABEL})) is None
    assert launchd.made(agent().replace(b"</plist>", b"")) == Made("", "1.2")
    assert launchd.made(launchd.MARK + b"1 -->" + plistlib.dumps({})) == Made("", "1")
