"""Names what service managers know the daemon by.

``--check`` may come through here before every launch of an agent, so nothing is imported.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

#: systemd's names: the daemon, and the port that starts it.
SERVICE: Final = "bridge.service"
SOCKET: Final = "bridge.socket"
#: launchd's name of the agent, which its process finds in ``XPC_SERVICE_NAME``.
LABEL: Final = "io.bridge-proxy.bridge"
