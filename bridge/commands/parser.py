"""Reads the words of a command line and returns what to do, as a function without arguments."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from bridge import __version__
from bridge.errors import UsageError

Command = Callable[[], int]

EPILOG = """\
exit codes: 0 good, 1 failed, 2 wrong usage, 3 not running, 4 the port is a stranger's or the
daemon does not answer, 78 configuration wrong, 150 serving, but that provider needs a login
"""


def parse(words: list[str]) -> Command:
    """Return the command that *words* ask for; exits with 2 on wrong usage, as argparse does."""
    arguments = _parser().parse_args(words)
    return lambda: _run(arguments)


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
    options = parser.add_argument_group("options")
    options.add_argument("--config", metavar="FILE", help="another configuration file")
    options.add_argument("--pid-file", metavar="FILE", help="another PID file")
    options.add_argument("--port", metavar="N", type=int, help="another port than 18462")
    options.add_argument("--log-level", metavar="LEVEL", help="debug, info, warning or error")
    options.add_argument("-v", "--verbose", action="store_true", help="with --check: say it")
    options.add_argument("--json", action="store_true", help="with --check: print /health")
    _add_commands(parser)
    return parser


def _add_commands(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    login = commands.add_parser("login", help="log in to a provider in the browser")
    login.add_argument("--no-browser", action="store_true", help="only print the page's address")
    logout = commands.add_parser("logout", help="forget the login")
    token = commands.add_parser("token", help="print a fresh access token")
    up = commands.add_parser("up", help="start the daemon and log in, as far as needed")
    for command in (login, logout, token, up):
        command.add_argument("provider", nargs="?", default="kimi", metavar="PROVIDER")
    shell = commands.add_parser("shell-init", help="print shell functions: claude-kimi and more")
    shell.add_argument("shell", choices=("bash", "zsh"))
    commands.add_parser("demo", help="see the main job done, without an account")


def _run(arguments: argparse.Namespace) -> int:
    options = {
        "config": arguments.config,
        "pid_file": arguments.pid_file,
        "port": arguments.port,
        "log_level": arguments.log_level,
    }
    if arguments.command is not None:
        return _command(arguments, options)
    if arguments.check is not None:
        raise UsageError("--check takes a provider, -v, --json, --port and --pid-file only")
    from bridge.commands import daemon

    if arguments.foreground:
        return daemon.foreground(options)
    if arguments.stop:
        return daemon.stop(options)
    if arguments.restart:
        return daemon.restart(options)
    if arguments.reload:
        return daemon.reload(options)
    return daemon.start(options)


def _command(arguments: argparse.Namespace, options: dict[str, object]) -> int:
    if arguments.command == "demo":
        from bridge.demo.play import main

        return main([])
    if arguments.command == "shell-init":
        from bridge.commands.shell import shell_init

        return shell_init(arguments.shell, options)
    from bridge.commands import account

    if arguments.provider != "kimi":
        raise UsageError(f"{arguments.provider}: only kimi is logged in to: bridge login kimi")
    if arguments.command == "login":
        return account.login(options, browser=not arguments.no_browser)
    verbs = {"logout": account.logout, "token": account.token, "up": account.up}
    return verbs[arguments.command](options)
