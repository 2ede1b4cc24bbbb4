"""The secrets that are planted, each with where it stands: whoever finds one knows where it was."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from tests.fakes.grants import ACCESS_MARK, REFRESH_MARK

#: What every planted secret has in it.
PLANTED: Final = "PLANTEDsecret"
#: Variables in which a provider's key may be.
VARIABLES: Final = (
    *("KIMI_CODE_API_KEY", "KIMI_API_KEY", "MINIMAX_API_KEY", "DEEPSEEK_API_KEY", "ZAI_API_KEY"),
    *("GLM_API_KEY", "OPENROUTER_API_KEY", "CEREBRAS_API_KEY", "ANTHROPIC_API_KEY"),
    *("ANTHROPIC_AUTH_TOKEN", "OPENAI_API_KEY"),
)


def planted(place: str) -> str:
    """Return a secret for *place*, which could be a key."""
    return f"sk-{PLANTED}-{place.replace(' ', '-')}-7a31f09c"


#: What a client shows or says that is nobody else's business.
CLIENT: Final[Mapping[str, str]] = {
    "authorization": f"Bearer {planted('bearer')}",
    "x-api-key": planted("x-api-key"),
    "proxy-authorization": f"Basic {planted('proxy-authorization')}",
    "x-bridge-key": planted("x-bridge-key"),
    "cookie": f"session={planted('cookie')}",
}
PROMPT: Final = planted("prompt")
QUERY: Final = planted("query")
PROXY: Final = planted("proxy")
HEADER: Final = planted("configured header")
FILE_KEY: Final = planted("key file")
COMMAND_KEY: Final = planted("key command")
COMMAND_WORD: Final = planted("argument of the key command")
COMMAND_NOISE: Final = planted("standard error of the key command")
ENVIRONMENT: Final[Mapping[str, str]] = {name: planted(name) for name in VARIABLES}
UPSTREAM_BODY: Final = planted("body of an answer")
UPSTREAM_HEADER: Final = planted("header of an answer")
SERVER_ERROR: Final = planted("error of the authorization server")

#: The beginnings of all that may be nowhere; tokens begin with marks of their own.
MARKS: Final = (PLANTED, ACCESS_MARK, REFRESH_MARK)


def leaks(sinks: Mapping[str, bytes], secrets: Iterable[str] = ()) -> list[str]:
    """Return the names of *sinks* in which a mark, or one of *secrets*, can be read."""
    wanted = [each.encode() for each in {*MARKS, *secrets} if each]
    return [name for name, content in sinks.items() if any(each in content for each in wanted)]


def files(home: Path, apart: Iterable[Path]) -> dict[str, bytes]:
    """Return every file below *home* but those *apart*, links not followed, by its name."""
    kept = set(apart)
    return {
        str(path.relative_to(home)): path.read_bytes()
        for path in home.rglob("*")
        if path.is_file() and not path.is_symlink() and path not in kept
    }
