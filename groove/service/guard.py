"""What keeps the page to this machine: its policy for browsers, and the names it answers to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

LOOPBACK = ("127.0.0.1", "localhost", "::1")

_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "media-src 'self' data: blob:; connect-src 'self' data: blob:; worker-src 'self' blob:; "
    "frame-ancestors 'none'; form-action 'self'"
)


class _Guard:
    """Adds the content security policy to every answer."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(
        self,
        scope: Any,
        receive: Callable[[], Awaitable[Any]],
        send: Callable[[Any], Awaitable[None]],
    ) -> None:
        async def guarded(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message.get("headers", []),
                    (b"content-security-policy", _POLICY.encode()),
                    (b"referrer-policy", b"no-referrer"),
                ]
            await send(message)

        await self._app(scope, receive, guarded)


def middleware(host: str) -> list[Any]:
    """Layers around the page's app, for the address that it listens on."""
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    guards = [Middleware(_Guard)]
    if host in LOOPBACK:  # a foreign page must not reach it under a name of its own
        names = ["127.0.0.1", "localhost", "[::1]"]
        guards.append(Middleware(TrustedHostMiddleware, allowed_hosts=names))
    return guards
