"""The console as a part of the cloud's server.

NiceGUI keeps its application, its clients and its settings in module globals, so a process has at most one
console, and this module is the only one that touches those globals.
"""

import contextlib
import copy
import functools
import logging
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final

from fastapi import FastAPI
from nicegui import Client, app, core, ui
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Mount, Route, Router, compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sim.cloud.errors import BadRequestError, ConsoleFullError, ConsoleInUseError
from sim.cloud.responses import problem
from sim.cloud.web.access import FORM_PATHS, NOBODY, Access
from sim.cloud.web.i18n import Translator
from sim.cloud.web.layout import show_page
from sim.cloud.web.log_file import LOG_FILE_PATH, log_file
from sim.cloud.web.pages import PAGES
from sim.cloud.web.preferences import preferences
from sim.cloud.web.routes import PageRoute
from sim.cloud.web.visit import Cloud, Visit

MAX_PAGES: Final = 500  # pages that browsers have open
MAX_PAGES_PER_ADDRESS: Final = 100  # of them from one IP address
SOCKETS_PER_PAGE: Final = 2  # a page that connects again may still have the socket before
RECONNECT_TIMEOUT: Final = 15.0  # seconds after which a page without connection is forgotten
PAGE_TIMEOUT: Final = 10.0  # seconds to build a page
MESSAGE_HISTORY: Final = 200  # updates kept for a browser that reconnects
TAB_AGE: Final = 3600.0  # seconds NiceGUI keeps what it knows of a closed tab
ASSETS: Final = Path(__file__).parent / "assets"
ASSETS_PATH: Final = "/console"

_OPEN: Final = ("/_nicegui/", "/_nicegui_ws/", ASSETS_PATH + "/")  # to everybody
_UNUSED: Final = "/_nicegui/client/"  # NiceGUI's uploads, which know no limit
_LOG_FILE: Final = compile_path(LOG_FILE_PATH)[0]
_BROWSER_CACHE: Final = "public, max-age=3600"

_log = logging.getLogger(__name__)


class Console:
    """An ASGI application: the pages, and what their scripts need."""

    _running: "Console | None" = None

    def __init__(self, cloud: Cloud, *, secure: bool, pages: Sequence[PageRoute] = PAGES) -> None:
        self._cloud = cloud
        self._pages = [(page, compile_path(page.path)[0]) for page in pages]
        self._access = Access(cloud.sessions, secure=secure, known=lambda path: self._page(path) is not None)
        self._inner: ASGIApp | None = None
        self._sockets: Counter[str] = Counter()  # by IP address

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serve inside. Raises `ConsoleInUseError`."""
        if Console._running is not None:
            raise ConsoleInUseError("this process has a web console already: start the other cloud without")
        Console._running = self
        try:
            frame = _configured()
            for page, _ in self._pages:
                self._register(page)
            async with frame.router.lifespan_context(frame):
                # NiceGUI would take a socket from any site; a page of ours is always of the same origin.
                core.sio.eio.cors_allowed_origins = None
                # Asking again and again over HTTP would leave a session behind each time.
                core.sio.eio.transports = ["websocket"]
                assets = Route(ASSETS_PATH + "/{file}", _asset, methods=["GET"])
                logs = Route(LOG_FILE_PATH, self._log_file, methods=["GET"])
                routes = [assets, logs, *self._access.routes(), Mount("/", frame)]
                self._inner = Router(routes, redirect_slashes=False)
                try:
                    yield
                finally:
                    for client in list(Client.instances.values()):
                        client.delete()
        finally:
            self._inner = None
            for page, _ in self._pages:
                app.remove_route(page.path)
            Console._running = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._inner is None:
            raise HTTPException(503)
        refusal = None
        path = scope["path"]
        if scope["type"] == "websocket":
            await self._socket(scope, receive, send)
            return
        if scope["type"] == "http" and (path.startswith(_UNUSED) or not path.startswith(_OPEN)):
            refusal = await self._refusal(Request(scope, receive))
        await (refusal or self._inner)(scope, receive, _with_origin(send))

    async def _socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A page's connection. Anybody may open one, since the log-in is a page, too."""
        host = scope["client"][0] if scope.get("client") else ""
        if (
            self._inner is None
            or self._sockets[host] >= MAX_PAGES_PER_ADDRESS * SOCKETS_PER_PAGE
            or self._sockets.total() >= MAX_PAGES * SOCKETS_PER_PAGE
        ):
            await send({"type": "websocket.close", "code": 1013})
            return
        self._sockets[host] += 1
        try:
            await self._inner(scope, receive, send)
        finally:
            self._sockets[host] -= 1
            if not self._sockets[host]:
                del self._sockets[host]

    async def _refusal(self, request: Request) -> Response | None:
        """What a request for a page gets in place of the page."""
        path = request.url.path
        if (request.method == "POST" and path in FORM_PATHS) or _LOG_FILE.match(path):
            return None
        route = self._page(path)
        if route is None or request.method != "GET":
            raise HTTPException(404)
        if not await self._recognised(request) and not route.public:
            return self._access.login_page(request)
        return _full(request)

    async def _recognised(self, request: Request) -> bool:
        """Note who asks; False for a stranger."""
        found = await self._access.caller_of(request)
        request.state.caller, request.state.cookie = found or (NOBODY, "")
        return found is not None

    async def _log_file(self, request: Request) -> Response:
        if not await self._recognised(request):
            return self._access.login_page(request)
        return await log_file(self._visit(request))

    def _visit(self, request: Request) -> Visit:
        choice, state = preferences(request), request.state
        return Visit(self._cloud, state.caller, choice, request, Translator(choice.language), state.cookie)

    def _page(self, path: str) -> PageRoute | None:
        return next((page for page, pattern in self._pages if pattern.match(path)), None)

    def _register(self, route: PageRoute) -> None:
        async def page(request: Request, client: Client) -> None:
            visit = self._visit(request)
            # NiceGUI has language and theme per page function; ours are per reader.
            client.page = copy.copy(client.page)
            client.page.language = "zh-CN" if visit.t.language == "zh" else "en-US"
            client.page.dark = visit.preferences.theme.dark
            await show_page(visit, route, client)

        ui.page(route.path, response_timeout=PAGE_TIMEOUT)(page)


@functools.cache
def _configured() -> FastAPI:
    """NiceGUI, set up and mounted; once in a process, since it cannot be set up again."""
    frame = FastAPI(openapi_url=None)
    ui.run_with(
        frame,
        title="cloudsim",
        favicon=(ASSETS / "favicon.svg").read_text(),
        reconnect_timeout=RECONNECT_TIMEOUT,
        message_history_length=MESSAGE_HISTORY,
        tailwind=False,
        gzip_middleware_factory=None,  # it would hold up devices; browsers keep the scripts for a year
        binding_refresh_interval=None,
        show_welcome_message=False,
    )
    app.storage.max_tab_storage_age = TAB_AGE
    app.exception_handlers[404] = _nothing  # its own is a page, which would take memory
    return frame


def _with_origin(send: Send) -> Send:
    """Let forms of pages say where they come from: without a referrer, browsers make their origin null."""

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], (b"referrer-policy", b"same-origin")]}
        await send(message)

    return sent


async def _nothing(_request: Request, _error: Exception) -> Response:
    return problem(404, BadRequestError.code, "there is nothing here")


async def _asset(request: Request) -> Response:
    path = ASSETS / request.path_params["file"]
    if path.parent != ASSETS or not path.is_file():
        raise HTTPException(404)
    return FileResponse(path, headers={"Cache-Control": _BROWSER_CACHE})


def _full(request: Request) -> Response | None:
    """A refusal when too many pages are open: each one takes memory until its browser goes away."""
    host = request.client.host if request.client else ""
    pages = list(Client.instances.values())
    if len(pages) < MAX_PAGES and sum(page.ip == host for page in pages) < MAX_PAGES_PER_ADDRESS:
        return None
    _log.warning("the console refuses a page: %d are open", len(pages))
    error = ConsoleFullError("too many pages are open: close some, then reload")
    response = problem(error.http_status, error.code, str(error))
    response.headers["Retry-After"] = str(int(RECONNECT_TIMEOUT))
    return response
