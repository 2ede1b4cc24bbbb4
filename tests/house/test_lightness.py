"""What the daemon does not carry: memory and a slower start for every user, for nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("module", ["bridge.service.run", "bridge.commands.account"])
def test_no_http_framework_is_loaded(module: str) -> None:
    """Neither the daemon nor a login imports aiohttp: one way out serves all, and it is ours."""
    program = (
        f"import sys, {module}; "
        "print(sorted({'aiohttp', 'yarl', 'multidict', 'http.client'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "[]"
