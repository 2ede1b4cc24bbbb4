"""What a client may be shown of a fault: bridge's own error, the answer as it came, or a cut."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from tests.faults.scene import Scene
from tests.faults.sight import Sight

_SURFACES = ("anthropic", "openai")


class Verdict(Protocol):
    """What is expected to be seen."""

    def looks(self, scene: Scene) -> str:
        """Ask as every kind of client does, and return in a few words what all of them saw."""


@dataclass(frozen=True, slots=True)
class Own:
    """An error of bridge's own, in the words of the asker's dialect; *again*: a retry may help."""

    status: int
    words: str = ""
    again: bool = True

    def looks(self, scene: Scene) -> str:
        """See that both dialects are told."""
        for surface in _SURFACES:
            self.check(scene.looks(surface), surface)
        return f"{self.status}, {'may be tried again' if self.again else 'not to be tried again'}"

    def check(self, sight: Sight, surface: str = "anthropic") -> None:
        """See that *sight* is such an error."""
        assert (sight.status, sight.end) == (self.status, "whole"), sight.brief
        error = sight.document["error"]
        assert self.words in error["message"], sight.brief
        assert ": " in error["message"], sight.brief
        if surface == "anthropic":
            assert sight.document["type"] == "error"
        else:
            assert error["code"], sight.brief
        assert ("retry-after" in sight.headers) == self.again, sight.brief
        assert (sight.headers.get("x-should-retry") == "false") != self.again, sight.brief


@dataclass(frozen=True, slots=True)
class Passes:
    """The server's own answer, unedited."""

    status: int
    body: bytes

    def looks(self, scene: Scene) -> str:
        """See that status and content are as they were given."""
        for surface in _SURFACES:
            sight = scene.looks(surface)
            assert (sight.status, sight.end) == (self.status, "whole"), sight.brief
            assert sight.content == self.body, sight.brief
            assert "x-should-retry" not in sight.headers
        size = len(self.body)
        return f"{self.status} as it came" + (f", {size:,} bytes" if size > 100_000 else "")


@dataclass(frozen=True, slots=True)
class Cut:
    """A beginning, if any, and then a reset; where nothing had begun it may be a 502 instead."""

    begins: bytes = b""
    may_be_told: bool = False

    def looks(self, scene: Scene) -> str:
        """See that no client, of HTTP/1.0 neither, can take it for whole."""
        for surface, version in (*((each, "1.1") for each in _SURFACES), ("anthropic", "1.0")):
            sight = scene.looks(surface, version=version)
            if self.may_be_told and sight.status == 502:
                Own(502).check(sight, surface)
                continue
            assert sight.end == "reset", sight.brief
            assert sight.content in (self.begins, b""), sight.brief
            assert self.may_be_told or sight.status == 200, sight.brief
        return "502 or a reset" if self.may_be_told else "the beginning, then a reset"


@dataclass(frozen=True, slots=True)
class Served:
    """Nothing of the fault: an answer of the true server."""

    def looks(self, scene: Scene) -> str:
        """See that each dialect is served."""
        for surface in _SURFACES:
            sight = scene.looks(surface)
            assert (sight.status, sight.end) == (200, "whole"), sight.brief
        return "nothing: a whole answer"
