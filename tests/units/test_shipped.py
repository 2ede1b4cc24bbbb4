"""The unit files that are shipped: found in the checkout, and in the wheel."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from bridge.errors import ServiceError
from bridge.units import shipped
from bridge.units.label import SERVICE

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", shipped.TEMPLATES)
def test_there(name: str) -> None:
    """Each is what stands at the top of the checkout."""
    assert shipped.template(name) == (ROOT / shipped.TEMPLATES[name]).read_text()


def test_wheel_carries_them() -> None:
    """The wheel takes each from there, and puts it where it is looked for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    included = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert included == {
        place: f"bridge/units/templates/{name}" for name, place in shipped.TEMPLATES.items()
    }
    standing = {
        str(path.relative_to(ROOT))
        for kind in ("systemd", "launchd")
        for path in (ROOT / kind).iterdir()
    }
    assert standing == set(included)


def test_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation without them says so."""
    monkeypatch.setitem(shipped.TEMPLATES, SERVICE, "nowhere")
    with pytest.raises(ServiceError, match="install bridge again"):
        shipped.template(SERVICE)
