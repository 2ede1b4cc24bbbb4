"""Texts of the kinds that agents send, with the tokens that published vocabularies make of them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final


@dataclass(frozen=True, slots=True)
class Counted:
    """A text and its tokens by each vocabulary (see ``proxy.weight``)."""

    kind: str
    tokens: dict[str, int]
    text: str

    @property
    def mean(self) -> float:
        """The mean of what the vocabularies say."""
        return sum(self.tokens.values()) / len(self.tokens)


COUNTED: Final = {
    each["kind"]: Counted(**each)
    for each in json.loads(Path(__file__).with_name("counted.json").read_text("utf-8"))
}
