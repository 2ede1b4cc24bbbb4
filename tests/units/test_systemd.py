"""systemd's units: what is in them, and that systemd itself reads them as they are meant."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.errors import ServiceError
from bridge.units import systemd
from bridge.units.label import SERVICE, SOCKET
from bridge.units.order import Made, Order
from bridge.units.shipped import template
from tests.fakes.unit import Unit

ORDER = Order(
    program="/bin/true",
    version="1.2",
    port=18462,
    environment={"KIMI_SHARE_DIR": "/home/me/kimi"},
    writes=("/home/me/.kimi", "/home/me/.local/state/bridge", "/home/me/.local/run"),
)
#: What systemd-analyze gives the unit, of 10; most of it is for capabilities, which a process of a
#: user has not, and a manager of a user cannot take.
EXPOSURE = 6.1
printable = st.text(
    st.sampled_from("%$\"'\\ ;#h-")
    | st.characters(exclude_categories=["C", "Z"], include_characters=" ")
)
analyzes = pytest.mark.skipif(
    not shutil.which("systemd-analyze"), reason="systemd's tools are not installed"
)


def service(order: Order = ORDER) -> str:
    """The service unit."""
    return systemd.service(template(SERVICE), order)


def socket(order: Order = ORDER) -> str:
    """The socket unit."""
    return systemd.socket(template(SOCKET), order)


def analyzed(folder: Path, texts: Mapping[str, str], *words: str) -> tuple[int, str]:
    """Return exit code and output of ``systemd-analyze`` *words* on units with these *texts*."""
    for name, text in texts.items():
        (folder / name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", *words, "--user", *(str(folder / name) for name in texts)],
        env={**os.environ, "XDG_RUNTIME_DIR": str(folder), "SYSTEMD_COLORS": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@analyzes
class TestSystemd:
    """systemd's own judgement."""

    @pytest.mark.parametrize(
        "order",
        [
            ORDER,
            replace(ORDER, ipv6=False),
            replace(ORDER, confines_files=False),
            replace(ORDER, confines_files=False, confines_calls=False, environment={}),
        ],
        ids=["all", "IPv4", "key programs", "setuid key programs"],
    )
    def test_verifies(self, tmp_path: Path, order: Order) -> None:
        """Every kind of unit is without a fault, and without a word, to systemd-analyze verify."""
        units = {SERVICE: service(order), SOCKET: socket(order)}
        assert analyzed(tmp_path, units, "verify", "--man=no") == (0, "")

    def test_would_tell(self, tmp_path: Path) -> None:
        """What the test above rests on: a setting that does not exist is told."""
        text = service().replace("UMask=", "Umask=")
        assert "Umask" in analyzed(tmp_path, {SERVICE: text}, "verify", "--man=no")[1]

    def test_service_without_socket(self, tmp_path: Path) -> None:
        """The socket unit that the service would like may be missing."""
        assert analyzed(tmp_path, {SERVICE: service()}, "verify", "--man=no") == (0, "")

    @pytest.mark.timeout(60)
    @settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
    @given(name=printable.filter(lambda name: 0 < len(name.encode()) < 200))
    def test_programs_path(self, tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
        """The program is found under whatever path it has, or the unit is not written."""
        folder = tmp_path_factory.mktemp("units")
        program = folder / name.replace("/", "_").replace(".", "_")
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
        try:
            text = service(replace(ORDER, program=str(program)))
        except ServiceError:
            assert set(name) & set("\"'\\")
            return
        assert analyzed(folder, {SERVICE: text}, "verify", "--man=no") == (0, "")
        assert Unit(text).command == [str(program), "--foreground"]

    def test_exposure(self, tmp_path: Path) -> None:
        """The unit stays as confined as it is."""
        words = ("security", "--offline=true", "--no-pager")
        limit = f"--threshold={EXPOSURE * 10:.0f}"
        assert analyzed(tmp_path, {SERVICE: service()}, *words, limit)[0] == 0
        loose = service(replace(ORDER, confines_files=False, confines_calls=False))
        assert analyzed(tmp_path, {SERVICE: loose}, *words, limit)[0] != 0


class TestQuoting:
    """Whatever a path or value is, systemd gets that very one."""

    @given(program=printable, folders=st.lists(printable), values=st.lists(printable))
    def test_round_trip(self, program: str, folders: list[str], values: list[str]) -> None:
        """What systemd makes of the settings is what was to be said."""
        environment = {f"NAME_{number}": value for number, value in enumerate(values)}
        program = "/" + "".join(character for character in program if character not in "\"'\\")
        order = replace(ORDER, program=program, writes=tuple(folders), environment=environment)
        unit = Unit(service(order))
        assert unit.command == [program, "--foreground"]
        assert unit.writes == [f"-{folder}" for folder in folders]
        assert unit.environment == environment

    @pytest.mark.parametrize("odd", ["a\nb", "a\x00", "\x7f", "\udcff", "\u2028"])
    def test_what_cannot_be_said(self, odd: str) -> None:
        """A value that could end its line, or is no text, is refused and not bent."""
        for order in (
            replace(ORDER, program=f"/bin/{odd}"),
            replace(ORDER, writes=(odd,)),
            replace(ORDER, environment={"KIMI_SHARE_DIR": odd}),
        ):
            with pytest.raises(ServiceError, match="no plain text"):
                service(order)

    @pytest.mark.parametrize("quote", ['"', "'", "\\"])
    def test_program_that_systemd_does_not_start(self, quote: str) -> None:
        """A path that systemd refuses is refused first, with a way out."""
        with pytest.raises(ServiceError, match="install bridge elsewhere"):
            service(replace(ORDER, program=f"/opt/{quote}/bridge"))


class TestUnits:
    """What is in them."""

    def test_service(self) -> None:
        """The manager is told the truth, and what is wrong for good is not tried for ever."""
        unit = Unit(service())
        assert unit.one("Type") == "notify"
        assert unit.one("Restart") == "on-failure"
        assert "78" in unit.one("RestartPreventExitStatus").split()
        assert unit.one("WatchdogSec") == "30"
        assert int(unit.one("TimeoutStopSec")) > 30 + 100
        assert (unit.one("LimitCORE"), unit.one("UMask")) == ("0", "0077")
        assert unit.one("WantedBy") == "default.target"

    def test_port(self) -> None:
        """The socket unit holds the port of both families, or of the one that there is."""
        unit = Unit(socket(replace(ORDER, port=77)))
        assert unit.all("ListenStream") == ["127.0.0.1:77", "[::1]:77"]
        assert Unit(socket(replace(ORDER, ipv6=False))).all("ListenStream") == ["127.0.0.1:18462"]

    @pytest.mark.parametrize("text", [service(), socket()], ids=[SERVICE, SOCKET])
    def test_mark(self, text: str) -> None:
        """A unit of ours says so, and what it runs; no gap is left in it."""
        assert systemd.made(text) == Made("/bin/true", "1.2")
        assert "@" not in text.replace("@system-service", "")

    @pytest.mark.parametrize("text", ["", "[Unit]\n", "# Written by: me\n", f" {service()}"])
    def test_of_others(self, text: str) -> None:
        """A unit without the mark is somebody else's."""
        assert systemd.made(text) is None

    @pytest.mark.parametrize("rest", ["", "[]", "{}", "null", "{"])
    def test_mark_that_was_edited(self, rest: str) -> None:
        """A mark whose facts are gone is still ours, and says nothing."""
        assert systemd.made(f"{systemd.MARK}{rest}\n[Unit]\n") == Made("", "")
