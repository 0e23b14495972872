"""The desk as `make run` serves it: the app, health checks, the cookie's route, headers.

Started with `streamlit run server.py`.
"""

from __future__ import annotations

import base64
import gc
import hashlib
import importlib
import logging
import re
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import streamlit as st
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.core import health
from services.people import sessions, tickets
from ui import cookies, session

log = logging.getLogger("desk.server")

_FRAMED = (cookies.ROUTE, "/component/")
"""What our own pages show in a frame; nothing of the desk may be framed by anybody else."""


def content_security_policy(index_html: str) -> str:
    """The policy for Streamlit's page, with the hash of each script that stands in it.

    Args:
        index_html: the page as this version of Streamlit ships it.
    """
    inline = re.findall(r"<script>(.*?)</script>", index_html, re.DOTALL)
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in inline]
    scripts = " ".join(["'self'", *(f"'sha256-{digest}'" for digest in hashes)])
    return (
        f"default-src 'self'; script-src {scripts}; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; "
        "worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'"
    )


class SecurityHeaders:
    """Puts the security headers on every answer."""

    def __init__(self, app: ASGIApp, policy: str) -> None:
        self._app = app
        self._policy = policy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and add the headers when the answer starts."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        framed = any(part in scope["path"] for part in _FRAMED)

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                ancestors = "'self'" if framed else "'none'"
                headers["Content-Security-Policy"] = f"{self._policy}; frame-ancestors {ancestors}"
                headers["X-Frame-Options"] = "SAMEORIGIN" if framed else "DENY"
                headers["X-Content-Type-Options"] = "nosniff"
                headers["Referrer-Policy"] = "same-origin"
                headers["Cross-Origin-Opener-Policy"] = "same-origin"
                headers["Permissions-Policy"] = "camera=(), geolocation=(), microphone=()"
                if _is_https(scope):
                    headers["Strict-Transport-Security"] = "max-age=31536000"
            await send(message)

        await self._app(scope, receive, with_headers)


async def alive(_request: Request) -> Response:
    """The process answers."""
    return JSONResponse({"status": "ok"})


async def ready(_request: Request) -> Response:
    """The control database answers, so people can sign in."""
    problem = await run_in_threadpool(lambda: health.control_problem(session.context()))
    if problem:
        return JSONResponse({"status": "not ready", "why": problem}, status_code=503)
    return JSONResponse({"status": "ready"})


async def cookie(request: Request) -> Response:
    """Exchange a one-time ticket for the cookie, for our own page only."""
    ctx = session.context()
    token = None
    if _from_own_page(request):
        token = tickets.redeem(request.query_params.get("ticket", ""), ctx.now())
    if token is None:
        return HTMLResponse("<title>Nothing here</title>", 403, {"Cache-Control": "no-store"})
    response = HTMLResponse("<title>Signed in</title>", headers={"Cache-Control": "no-store"})
    response.set_cookie(
        cookies.cookie_name(ctx),
        token,
        max_age=int(sessions.LIFETIME.total_seconds()),
        path="/",
        secure=_is_https(request.scope) or ctx.settings.desk_url.startswith("https:"),
        httponly=True,
        samesite="strict",
    )
    return response


def _from_own_page(request: Request) -> bool:
    # Somebody else's page must not be able to sign a browser in as somebody else.
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    referer = urlsplit(request.headers.get("referer", ""))
    return bool(referer.netloc) and referer.netloc == request.headers.get("host")


def _is_https(scope: Scope) -> bool:
    return str(scope.get("scheme")) in ("https", "wss")


@asynccontextmanager
async def _lifespan(_app: st.App) -> AsyncIterator[dict[str, object]]:
    # Opened before the first visitor: what is wrong with a setting shows in the console.
    await run_in_threadpool(session.context)
    tickets.open_window()
    threading.Thread(target=_import_sign_in, name=_IMPORTING, daemon=True).start()
    yield {}


_IMPORTING = "import sign-in"


def _import_sign_in() -> None:
    # The library asks for a visitor while it is imported; nobody has to read that there is none.
    context = logging.getLogger("streamlit.runtime.scriptrunner_utils.script_run_context")
    context.addFilter(lambda record: record.threadName != _IMPORTING)
    # The first visitor's browser loads Streamlit's scripts meanwhile; otherwise they would
    # wait half a second more, after that, for these.
    for module in ("ui.navigation", "streamlit_authenticator.controllers"):
        importlib.import_module(module)


def _index_html() -> str:
    return (Path(st.__file__).parent / "static" / "index.html").read_text("utf-8")


ROUTES = [Route("/healthz", alive), Route("/readyz", ready), Route(cookies.ROUTE, cookie)]

app = st.App(
    "app.py",
    lifespan=_lifespan,
    routes=ROUTES,
    middleware=[Middleware(SecurityHeaders, policy=content_security_policy(_index_html()))],
)

# Streamlit collects garbage after every rerun; what is imported by now is there to stay.
gc.collect()
gc.freeze()
