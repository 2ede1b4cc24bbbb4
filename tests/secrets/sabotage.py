"""Code that breaks one promise of the daemon's each, to see that the tripwire notices.

It is run as a ``sitecustomize`` of every process of the installation, before anything of bridge.
"""

from __future__ import annotations

from typing import Final

from tests.fakes.grants import ACCESS_MARK
from tests.secrets import marks

_HEADERS: Final = """
import logging
import bridge.proxy.head as head
import bridge.proxy.rewrite as rewrite
head.Head.__repr__ = lambda self: f"Head({self.raw})"
real = rewrite._choose
def choose(head, routes):
    logging.getLogger("bridge").warning("routed %r", head)
    return real(head, routes)
rewrite._choose = choose
"""

_TOKENS: Final = """
import logging
import bridge.credentials.refresh as refresh
real = refresh.refreshed
def refreshed(oauth, token, reply, now):
    logging.getLogger("bridge").info("refreshed %s", reply.body)
    return real(oauth, token, reply, now)
refresh.refreshed = refreshed
"""

_WORDS: Final = """
import bridge.oauth.grant as grant
grant.described = lambda reply: reply.body.decode().replace(chr(10), " ")
"""

_KEY: Final = """
import bridge.credentials.keyplace as keyplace
real = keyplace.mistake
keyplace.mistake = lambda text, names=(): real(text, names) and "holds " + text
"""

_SHOWN: Final = """
import os
import bridge.commands.config as config
config.lines = lambda entries: [open(os.environ["HOME"] + "/.config/bridge/config.toml").read()]
"""

_STARTED: Final = """
import atexit, subprocess, sys
import bridge.credentials.keyplace as keyplace
real = keyplace.judged
started = []
def judged(text, *rest):
    key = real(text, *rest)
    if not started and "bridge.service.house" in sys.modules and "command" in rest[0]:
        words = [sys.executable, "-ISc", "import time; time.sleep(60)", key.access]
        quiet = subprocess.DEVNULL
        child = subprocess.Popen(words, env={}, stdin=quiet, stdout=quiet, stderr=quiet)
        started.append(child)
        atexit.register(child.kill)
    return key
keyplace.judged = judged
"""

_BACKUP: Final = """
import bridge.credentials.store as store
real = store.Store.replace
def replace(self, token):
    self.path.with_name("backup").write_text(token.access)
    return real(self, token)
store.Store.replace = replace
"""

_CORES: Final = """
import resource
real = resource.setrlimit
resource.setrlimit = lambda what, limits: (
    None if what == resource.RLIMIT_CORE else real(what, limits)
)
resource.getrlimit(resource.RLIMIT_CORE)
real(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2)
"""

#: All of it at once.
CODE: Final = "".join(
    f"def sabotage{number}():{code.replace(chr(10), chr(10) + '    ')}\nsabotage{number}()\n"
    for number, code in enumerate(
        (_HEADERS, _WORDS, _SHOWN, _TOKENS, _KEY, _STARTED, _BACKUP, _CORES)
    )
)
#: By what is broken: a part of the name of the sink in which that shows, and what shows there.
SHOWS: Final = {
    "headers in the log": ("log and stderr", marks.CLIENT["authorization"]),
    "tokens in the log": ("bridge.log", ACCESS_MARK),
    "words of the server in errors": ("answer", marks.SERVER_ERROR),
    "a key in a message": ("answer", marks.FILE_KEY),
    "a proxy's password in what is shown": ("bridge config show", marks.PROXY),
    "a key on a command line": ("command line", marks.COMMAND_KEY),
    "a token in a file": ("backup", ACCESS_MARK),
    "cores that are written": ("core limit", marks.PLANTED),
}
