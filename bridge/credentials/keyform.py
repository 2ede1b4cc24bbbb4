"""Says whether a text can be a provider's key, and what looks wrong about one that can.

Pure. A key is opaque: any run of visible ASCII may be one. What a person cannot have meant is
refused with the reason, because an upstream would only say 401. No key is in any message.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

#: Characters; the longest keys known are tokens of two thousand, and servers take heads of 8192.
LONGEST: Final = 4096

#: What templates and tutorials put where the key belongs, alone or run together.
_FILLER: Final = re.compile(
    "(?:a|access|actual|add|an|api|auth|change|dummy|enter|example|fake|fixme|goes|here|hidden|"
    "insert|key|me|my|nil|none|null|paste|placeholder|put|real|redacted|replace|sample|secret|"
    "some|tbd|the|this|todo|token|undefined|unset|with|your)+"
)
#: Numbers behind a word (``your-api-key-1``).
_NUMBER: Final = re.compile(r"\d{0,4}")
#: Runs of one character: ``xxx``, ``000``.
_RUN: Final = re.compile(r"(.)\1{2,}")
#: Words with which keys begin, and which so say nothing of what follows.
_BEGINNINGS: Final = frozenset({"ant", "cp", "csk", "kimi", "or", "pk", "proj", "sk", "v1"})
#: ``<key>``, ``{{key}}``, ``$KEY``, ``%KEY%``, and what a console shows of a key: ``sk-***abcd``.
_STAND_IN: Final = re.compile(r"<.*>|\{.*\}|\[.*\]|\(.*\)|%.*%|\$.*|.*(?:\*\*\*|\.\.\.|…|•).*")
_ASSIGNMENT: Final = re.compile(r"export\s.*|[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\s*=.*")
_QUOTED: Final = re.compile(r"([\"'`]).*\1|[\u2018-\u201f\u00ab].*")
_BEARER: Final = re.compile(r"bearer\s.*", re.IGNORECASE)
_CARRIED: Final = re.compile(r"[!-~]+")
#: What people write instead of the key alone, and how they are told.
_OTHERWISE: Final = (
    (_ASSIGNMENT, "holds an assignment and not the key alone"),
    (_QUOTED, "has quotation marks around the key"),
    (_BEARER, 'begins with "Bearer", which is not part of the key'),
)


def mistake(text: str, names: Iterable[str] = ()) -> str:
    """Return why *text*, stripped of white space, is no key, or an empty string for one that is.

    *names* are what the provider is called, for :func:`is_placeholder`. The reason goes on from
    the place where the text was found: "holds a placeholder and no key".
    """
    if not text:
        return "is empty"
    if (lines := len(text.splitlines())) > 1:
        return f"has {lines} lines, and a key is one"
    for pattern, reason in _OTHERWISE:
        if pattern.fullmatch(text):
            return reason
    if is_placeholder(text, names):
        return "holds a placeholder and no key"
    if not _CARRIED.fullmatch(text):
        return "has a character that no key has (white space, a control character or no ASCII)"
    if len(text) > LONGEST:
        return f"is longer than any key ({LONGEST} characters)"
    return ""


def is_placeholder(text: str, names: Iterable[str] = ()) -> bool:
    """Say whether *text* stands where a key belongs without being one.

    That is: it is in brackets, an unexpanded variable, or a key with its middle masked; or, its
    letters and digits taken as words, each is a word of templates (``your``, ``key``, ``changeme``
    …), a run of one character, a number of up to four digits, a word with which keys begin
    (``sk``), or one of *names*, and not all are of the last three kinds.
    """
    if _STAND_IN.fullmatch(text):
        return True
    words = [word for word in re.split(r"[\W_]+", text.lower()) if word]
    neutral = _BEGINNINGS.union(*(re.split(r"[\W_]+", name.lower()) for name in names))
    telling = [word for word in words if word not in neutral and not _NUMBER.fullmatch(word)]
    # A local server may well be content with "ollama" or "sk-1234".
    if not telling:
        return not any(character.isalnum() for character in text) or words == ["sk"]
    return all(_is_filler(word) for word in telling)


def is_foreign(key: str, prefixes: Iterable[str]) -> bool:
    """Say whether *key* begins with none of *prefixes*; without prefixes none is foreign."""
    known = tuple(prefixes)
    return bool(known) and not key.startswith(known)


def _is_filler(word: str) -> bool:
    return bool(_RUN.fullmatch(word) or _FILLER.fullmatch(word.rstrip("0123456789")))
