"""Machines for the suite of abuse that the plain :class:`World` does not have."""

from __future__ import annotations

from tests.process.conftest import _nobody

__all__ = ["_nobody"]
