"""Does what a command line asks for: each verb costs only the import of its own room."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from bridge.errors import UsageError

if TYPE_CHECKING:
    from argparse import Namespace

Options = Mapping[str, object]
Verb = Callable[["Namespace", Options], int]


def run(arguments: Namespace) -> int:
    """Do what *arguments* ask for and return the exit code."""
    options = {
        "config": arguments.config,
        "pid_file": arguments.pid_file,
        "port": arguments.port,
        "log_level": arguments.log_level,
    }
    if arguments.command is not None:
        return VERBS[arguments.command](arguments, options)
    if arguments.check is not None:
        raise UsageError("--check takes a provider, -v, --json, --port and --pid-file only")
    return _daemon(arguments, options)


def _daemon(arguments: Namespace, options: Options) -> int:
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


def _login(arguments: Namespace, options: Options) -> int:
    _kimi_only(arguments.provider, options)
    from bridge.commands import account

    return account.login(options, browser=not arguments.no_browser)


def _logout(arguments: Namespace, options: Options) -> int:
    _kimi_only(arguments.provider, options)
    from bridge.commands import account

    return account.logout(options)


def _token(arguments: Namespace, options: Options) -> int:
    _kimi_only(arguments.provider, options)
    from bridge.commands import account

    return account.token(options)


def _kimi_only(name: str, options: Options) -> None:
    if name != "kimi" and (name := _named(name, options)) != "kimi":
        raise UsageError(
            f"{name} has no login, only kimi has: bridge providers says where a key is looked for"
        )


def _up(arguments: Namespace, options: Options) -> int:
    provider = _named(arguments.provider, options)
    from bridge.commands import account

    return account.up(provider, options)


def _env(arguments: Namespace, options: Options) -> int:
    provider = _named(arguments.provider, options)
    from bridge.commands import client

    return client.env(provider, arguments.client, arguments.shell, options)


def _run(arguments: Namespace, options: Options) -> int:
    provider = _named(arguments.provider, options)
    from bridge.commands import client

    return client.run(provider, arguments.words, {**options, "client": arguments.client})


def _shell_init(arguments: Namespace, options: Options) -> int:
    from bridge.commands.shell import shell_init

    return shell_init(arguments.shell, options)


def _providers(arguments: Namespace, options: Options) -> int:
    from bridge.commands.providers import providers

    return providers(options, as_json=arguments.json)


def _config(arguments: Namespace, options: Options) -> int:
    from bridge.commands import config

    if arguments.verb == "show":
        return config.show(options, as_json=arguments.json)
    return {"path": config.path, "check": config.check}[arguments.verb](options)


def _doctor(arguments: Namespace, options: Options) -> int:
    from bridge.commands.doctor import doctor

    return doctor(options, as_json=arguments.json)


def _bench(arguments: Namespace, options: Options) -> int:
    from bridge.commands.bench import bench

    return bench(options, as_json=arguments.json, seconds=arguments.seconds)


def _status(arguments: Namespace, options: Options) -> int:
    from bridge.commands.status import status

    return status(options, as_json=arguments.json, watch=arguments.watch)


def _logs(arguments: Namespace, options: Options) -> int:
    from bridge.commands.logs import logs

    return logs(options, follow=arguments.follow, lines=arguments.lines)


def _service(arguments: Namespace, options: Options) -> int:
    from bridge.commands import service

    if arguments.verb == "install":
        return service.install(options, socket=arguments.socket, dry_run=arguments.dry_run)
    if arguments.verb == "uninstall":
        return service.uninstall(options, dry_run=arguments.dry_run)
    if arguments.verb == "status":
        return service.status(options, as_json=arguments.json)
    return service.show(options, socket=arguments.socket)


def _demo(arguments: Namespace, options: Options) -> int:
    del arguments, options
    from bridge.demo.play import main

    return main([])


#: Every command by its name.
VERBS: Final[Mapping[str, Verb]] = {
    "login": _login,
    "logout": _logout,
    "token": _token,
    "up": _up,
    "env": _env,
    "run": _run,
    "shell-init": _shell_init,
    "providers": _providers,
    "config": _config,
    "doctor": _doctor,
    "bench": _bench,
    "demo": _demo,
    "status": _status,
    "logs": _logs,
    "service": _service,
}


def _named(name: str, options: Options) -> str:
    """Return the name of the provider that *name*, which may be an alias, means."""
    from bridge.service.catalogue import named, rows
    from bridge.service.settings import load

    return named(rows(load(options), {}), name).name
