"""A plain pass-through on aiohttp, as one would write it in an hour.

    python benchmarks/passthrough.py PORT UPSTREAM [AUTHORITY]

bridge is measured against it: no guard, no log, no retry, nothing but another credential.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
from collections.abc import Mapping

from aiohttp import ClientSession, ClientTimeout, TCPConnector, web

#: Between two hops, or the caller's own business.
LEFT_OUT = {
    *(
        "connection",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "expect",
        "host",
    ),
    *("proxy-authorization", "authorization", "x-api-key"),
}


def _kept(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(name, value) for name, value in headers.items() if name.lower() not in LEFT_OUT]


async def _serve(port: int, upstream: str, authority: str | None) -> None:
    trust = ssl.create_default_context(cafile=authority) if authority else True
    session = ClientSession(
        connector=TCPConnector(limit=0, ssl=trust),
        timeout=ClientTimeout(total=None),
        auto_decompress=False,
    )

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        headers = [*_kept(request.headers), ("Authorization", "Bearer injected")]
        async with session.request(
            request.method,
            upstream + request.path_qs,
            headers=headers,
            data=request.content if request.body_exists else None,
            allow_redirects=False,
        ) as answer:
            response = web.StreamResponse(status=answer.status, reason=answer.reason)
            response.headers.extend(_kept(answer.headers))
            await response.prepare(request)
            async for piece in answer.content.iter_any():
                await response.write(piece)
            await response.write_eof()
            return response

    runner = web.ServerRunner(web.Server(handle, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=4096).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else None))
