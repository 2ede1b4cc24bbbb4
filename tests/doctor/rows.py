"""The rows that the doctor's tests are about, and how they read findings."""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType
from typing import Any

from bridge.doctor.finding import Finding, Level
from bridge.providers import Auth, Dialect, KeyPlace, Models, OAuth, Provider

PORT = 18462
URL = f"http://127.0.0.1:{PORT}"


def row(name: str, **changed: Any) -> Provider:
    """Return a row with a key in ``NAME_API_KEY`` or ``~/.NAME.key``, as *changed*."""
    fields: dict[str, Any] = {
        "name": name,
        "auth": Auth.KEY,
        "surfaces": {Dialect.ANTHROPIC: f"https://{name}.example/anthropic"},
        "models": Models(f"{name}-large", f"{name}-small"),
        "keys": (KeyPlace(env=f"{name.upper()}_API_KEY"), KeyPlace(file=f"~/.{name}.key")),
    }
    return Provider(**{**fields, **changed})


KIMI = row("kimi", auth=Auth.OAUTH, keys=(), oauth=OAuth("https://auth.kimi.example", "client"))
MINIMAX = row("minimax", responses=True)
GLM = row("glm", aliases=("zai",))
ROWS = MappingProxyType({each.name: each for each in (KIMI, MINIMAX, GLM)})


def levels(findings: Iterable[Finding]) -> list[str]:
    """Return the levels of *findings*, in order."""
    return [str(each.level) for each in findings]


def only(findings: Iterable[Finding]) -> Finding:
    """Return the one finding that there must be."""
    [finding] = findings
    return finding


def troubles(findings: Iterable[Finding]) -> list[Finding]:
    """Return those of *findings* that have to be mended."""
    return [each for each in findings if each.level is not Level.OK]


def said(findings: Iterable[Finding]) -> str:
    """Return all that *findings* say, a line for each."""
    return "\n".join(f"{each.level} {each.subject}: {each.text} | {each.mend}" for each in findings)
