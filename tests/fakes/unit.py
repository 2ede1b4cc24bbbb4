"""Reads unit files as systemd does: words, quotes, escapes, specifiers (systemd.syntax(7))."""

from __future__ import annotations

from collections.abc import Iterator

ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "s": " ", "\\": "\\", '"': '"', "'": "'"}


class Unit:
    """The settings of one unit file: a key may be set more than once."""

    def __init__(self, text: str) -> None:
        """Read *text*; a line that is no setting is an error, as it is a warning to systemd."""
        self.settings: list[tuple[str, str, str]] = []
        section = ""
        for line in text.splitlines():
            if line.startswith("["):
                section = line.strip("[]")
            elif line and line[0] not in "#;":
                key, equals, value = line.partition("=")
                assert equals, line
                assert not value.endswith("\\"), line
                self.settings.append((section, key.strip(), value.strip()))

    def all(self, key: str) -> list[str]:
        """Return every value of *key*, in whatever section."""
        return [value for _, name, value in self.settings if name == key]

    def one(self, key: str) -> str:
        """Return the value of *key*, which is set once."""
        [value] = self.all(key)
        return value

    @property
    def command(self) -> list[str]:
        """What ``ExecStart`` runs; in its first word no variable is expanded."""
        program, *rest = (specified(word) for word in words(self.one("ExecStart")))
        return [program, *(word.replace("$$", "$") for word in rest)]

    @property
    def environment(self) -> dict[str, str]:
        """What ``Environment`` sets."""
        found = (specified(word) for value in self.all("Environment") for word in words(value))
        return dict(word.split("=", 1) for word in found)

    @property
    def writes(self) -> list[str]:
        """What ``ReadWritePaths`` names; a backslash takes the next character as it is."""
        values = self.all("ReadWritePaths")
        return [specified(word) for value in values for word in words(value, c_escapes=False)]


def words(value: str, *, c_escapes: bool = True) -> list[str]:
    """Return the words of a setting's *value* (``extract_first_word`` with ``EXTRACT_UNQUOTE``)."""
    characters = iter(value)
    return [
        "".join(_word(character, characters, c_escapes=c_escapes))
        for character in characters
        if character not in " \t"
    ]


def specified(word: str) -> str:
    """Return *word* with its specifiers expanded; any but ``%%`` is a surprise here."""
    assert "%" not in word.replace("%%", ""), word
    return word.replace("%%", "%")


def _word(first: str, rest: Iterator[str], *, c_escapes: bool) -> Iterator[str]:
    character: str | None = first
    quote = ""
    while character is not None:
        if character == "\\":
            escaped = next(rest)
            yield ESCAPES[escaped] if c_escapes else escaped
        elif quote and character == quote:
            quote = ""
        elif not quote and character in "\"'":
            quote = character
        elif not quote and character in " \t":
            return
        else:
            yield character
        character = next(rest, None)
    assert not quote, "a quote is open"
