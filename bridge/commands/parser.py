"""Reads the words of a command line and returns what to do, as a function without arguments."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from bridge import __version__
from bridge.errors import UsageError

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    Verbs = _SubParsersAction[argparse.ArgumentParser]

Command = Callable[[], int]

CLIENTS: Final = ("claude", "codex", "opencode")
EPILOG: Final = """\
exit codes: 0 good, 1 failed, 2 wrong usage, 3 not running, 4 the port is a stranger's or the
daemon does not answer, 78 configuration wrong, 150 serving, but that provider needs a login or key
"""


def parse(words: list[str]) -> Command:
    """Return the command that *words* ask for; exits with 2 on wrong usage, as argparse does."""
    from bridge.commands import verbs

    arguments = _parser().parse_args(words)

    def command() -> int:
        if arguments.command == "run":
            arguments.client, arguments.words = command_words(arguments.words)
        return verbs.run(arguments)

    return command


def command_words(words: list[str]) -> tuple[str | None, list[str]]:
    """Return which client *words*, all that follow the provider, name, and the command itself.

    Our own options end where the command begins, or at ``--``.
    """
    ours = argparse.ArgumentParser(prog="bridge run PROVIDER", add_help=False)
    ours.add_argument("--client", choices=CLIENTS)
    count = 0
    while count < len(words) and words[count].startswith("--client"):
        count += 1 if "=" in words[count] else 2
    client: str | None = ours.parse_args(words[:count]).client
    command = words[count:]
    if command[:1] == ["--"]:
        command = command[1:]
    elif command and command[0].startswith("-"):
        raise UsageError(f"run: unknown option {command[0]}: the command follows, or -- before it")
    if not command:
        raise UsageError("run: say which command, as in: bridge run kimi -- claude")
    return client, command


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bridge",
        description="Gives coding agents a fresh credential for every request. "
        "Without a command: starts the daemon in the background.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"bridge {__version__}")
    verbs = parser.add_argument_group("the daemon").add_mutually_exclusive_group()
    verbs.add_argument("--foreground", action="store_true", help="run it in the foreground")
    verbs.add_argument(
        "--check",
        nargs="?",
        const="",
        metavar="PROVIDER",
        help="is it serving? with a provider: is its credential usable too?",
    )
    verbs.add_argument("--stop", action="store_true", help="stop it; streams may end first")
    verbs.add_argument("--restart", action="store_true", help="stop it, then start it")
    verbs.add_argument("--reload", action="store_true", help="let it re-read its configuration")
    options = parser.add_argument_group("options, also behind a command")
    _add_places(options)
    options.add_argument("-v", "--verbose", action="store_true", help="with --check: say it")
    options.add_argument("--json", action="store_true", help="with --check: print /health")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    _add_login(commands)
    _add_clients(commands)
    _add_looking(commands)
    _add_service(commands)
    for command in {*commands.choices.values()}:
        _add_places(command, default=argparse.SUPPRESS)
    return parser


def _add_places(options: argparse._ActionsContainer, default: str | None = None) -> None:
    """Add the options that say where the daemon is and what it is like."""
    quiet = argparse.SUPPRESS if default else None
    for name, metavar, kind, text in (
        ("--config", "FILE", str, "another configuration file"),
        ("--pid-file", "FILE", str, "another PID file"),
        ("--port", "N", int, "another port than 18462"),
        ("--log-level", "LEVEL", str, "debug, info, warning or error"),
    ):
        options.add_argument(name, metavar=metavar, type=kind, default=default, help=quiet or text)


def _add_login(commands: Verbs) -> None:
    login = commands.add_parser("login", help="log in to a provider in the browser")
    login.add_argument("--no-browser", action="store_true", help="only print the page's address")
    logout = commands.add_parser("logout", help="forget the login")
    token = commands.add_parser("token", help="print a fresh access token")
    up = commands.add_parser("up", help="start the daemon and log in, as far as needed")
    for command in (login, logout, token, up):
        command.add_argument("provider", nargs="?", default="kimi", metavar="PROVIDER")


def _add_clients(commands: Verbs) -> None:
    env = commands.add_parser("env", help="print what points a client at the bridge")
    env.add_argument("provider", metavar="PROVIDER")
    env.add_argument("--client", choices=CLIENTS, default="claude", help="claude if not said")
    env.add_argument(
        "--shell", choices=("sh", "fish", "config"), default="sh", help="sh if not said"
    )
    run = commands.add_parser(
        "run",
        help="run a command with that in its environment",
        usage="bridge run PROVIDER [--client {claude,codex,opencode}] [--] COMMAND ...",
    )
    run.add_argument("provider", metavar="PROVIDER")
    run.add_argument("words", nargs=argparse.REMAINDER, metavar="COMMAND")
    shell = commands.add_parser("shell-init", help="print shell functions: claude-kimi and more")
    shell.add_argument("shell", choices=("bash", "zsh", "fish"))


def _add_looking(commands: Verbs) -> None:
    listed = commands.add_parser("providers", help="list the providers and where keys are found")
    config = commands.add_parser("config", help="where it is, what is in force, what is wrong")
    verbs = config.add_subparsers(dest="verb", metavar="VERB", required=True)
    path = verbs.add_parser("path", help="print where the configuration file is")
    show = verbs.add_parser("show", help="print what is in force, and where it comes from")
    check = verbs.add_parser("check", help="say what is wrong with it")
    doctor = commands.add_parser("doctor", help="find what would go wrong, and how to mend it")
    bench = commands.add_parser("bench", help="measure what the bridge costs on this machine")
    bench.add_argument("--seconds", type=float, default=10.0, metavar="N", help="for all of it; 10")
    commands.add_parser("demo", help="see the main job done, without an account")
    for command in (listed, show, doctor, bench):
        command.add_argument(
            "--json", action="store_true", default=argparse.SUPPRESS, help="for programs"
        )
    for command in (path, show, check):
        _add_places(command, default=argparse.SUPPRESS)


def _add_service(commands: Verbs) -> None:
    status = commands.add_parser("status", help="how the daemon and its logins are doing")
    status.add_argument("--watch", action="store_true", help="keep it on the screen")
    logs = commands.add_parser("logs", help="print the daemon's log")
    logs.add_argument("-f", "--follow", action="store_true", help="go on as it grows")
    logs.add_argument("-n", "--lines", type=int, default=50, metavar="N", help="the last N; 50")
    service = commands.add_parser("service", help="install it as a service of your system")
    verbs = service.add_subparsers(dest="verb", metavar="VERB", required=True)
    install = verbs.add_parser("install", help="write the units, enable and start them")
    install.add_argument("--socket", action="store_true", help="start at the first request")
    uninstall = verbs.add_parser("uninstall", help="undo that")
    state = verbs.add_parser("status", help="say what is installed and how it is doing")
    printed = verbs.add_parser("print", help="print what install would write")
    printed.add_argument("--socket", action="store_true", help="with the socket unit")
    for command in (install, uninstall):
        command.add_argument("--dry-run", action="store_true", help="only say what would be done")
    for command in (status, state):
        command.add_argument(
            "--json", action="store_true", default=argparse.SUPPRESS, help="for programs"
        )
    for command in (install, uninstall, state, printed):
        _add_places(command, default=argparse.SUPPRESS)
