"""A refresh by a process whose patience with the server is short, so that a test can outlast it.

``python -m tests.power.patient SHARE_DIR URL SECONDS`` refreshes once and prints what came of it.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import uvloop

from bridge.clock import SystemClock
from bridge.credentials.store import Store
from bridge.errors import BridgeError
from bridge.network import Client, Outbound
from bridge.oauth.endpoint import HttpEndpoint
from bridge.oauth.grant import refresh_request, refreshed
from bridge.providers import KIMI_CLIENT_ID, OAuth
from tests.fakes.credential import credential_file


async def _refreshes(share_dir: Path, url: str, seconds: float) -> str:
    clock = SystemClock()
    client = Client(Outbound({}))
    oauth = OAuth(host=url, client_id=KIMI_CLIENT_ID)
    credential = Store(credential_file(share_dir), clock).read()
    assert credential is not None
    endpoint = HttpEndpoint(client, read_seconds=seconds)
    try:
        reply = await endpoint.send(refresh_request(oauth, credential.token, {}))
        refreshed(oauth, credential.token, reply, clock.now())
    except BridgeError as error:
        return f"{type(error).__name__}: {error}"
    finally:
        await client.close()
    return "refreshed"


if __name__ == "__main__":
    work = _refreshes(Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]))
    print(uvloop.run(work) if sys.argv[4:] != ["asyncio"] else asyncio.run(work), flush=True)
