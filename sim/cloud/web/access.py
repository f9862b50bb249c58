"""Whose browser it is: the session cookie, and the forms that begin and end a session.

The forms are plain ones, so that the cookie can be HttpOnly and password managers know them.
"""

from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import parse_qs, quote, urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from sim.cloud.bodies import whole_body
from sim.cloud.errors import CloudError, CrossSiteError
from sim.cloud.model.work import Caller, stranger
from sim.cloud.security import from_another_site
from sim.cloud.sessions import Sessions, cleared_cookie, cookie_value, session_cookie
from sim.cloud.web.routes import HOME_PATH, LOGIN_PATH, LOGOUT_PATH, REGISTER_PATH

MAX_FORM: Final = 4096  # bytes of a log-in form
SEE_OTHER: Final = 303
#: Who looks at a public page.
NOBODY: Final = stranger("")

FORM_PATHS: Final = (LOGIN_PATH, REGISTER_PATH, LOGOUT_PATH)

Form = dict[str, str]


def address_of(request: Request) -> str:
    return request.client.host if request.client is not None else ""


class Access:
    """`known` says whether a path is one of a page, so that a log-in leads nowhere else."""

    def __init__(self, sessions: Sessions, *, secure: bool, known: Callable[[str], bool]) -> None:
        self._sessions = sessions
        self._secure = secure
        self._known = known

    async def caller_of(self, request: Request) -> tuple[Caller, str] | None:
        """Who the request comes from, and the value of the session cookie; None for a stranger."""
        cookie = cookie_value(request.headers.get("cookie"))
        caller = await self._sessions.caller_of(cookie, address_of(request))
        return (caller, cookie) if caller is not None and cookie is not None else None

    def login_page(self, request: Request) -> Response:
        """To the log-in, and from there to where the request wanted."""
        wanted = request.url.path
        query = "" if wanted == HOME_PATH else f"?next={quote(wanted, safe='')}"
        return RedirectResponse(LOGIN_PATH + query, SEE_OTHER)

    def routes(self) -> list[BaseRoute]:
        """What the forms of the pages post to."""
        return [
            Route(path, self._guarded(handler), methods=["POST"])
            for path, handler in zip(FORM_PATHS, (self._log_in, self._register, self._log_out), strict=True)
        ]

    def _guarded(
        self, handler: Callable[[Request, Form], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def guarded(request: Request) -> Response:
            if from_another_site(request.headers):
                raise CrossSiteError("the request comes from another site")
            body = (await whole_body(request, MAX_FORM)).decode("utf-8", "replace")
            form = {name: values[0] for name, values in parse_qs(body).items()}
            try:
                return await handler(request, form)
            except CloudError as exc:
                # The code is enough for the page; texts with names in them stay out of addresses.
                query = {"error": exc.code, "next": form.get("next", "")}
                return RedirectResponse(f"{request.url.path}?{urlencode(query)}", SEE_OTHER)

        return guarded

    async def _log_in(self, request: Request, form: Form) -> Response:
        session = await self._sessions.log_in(
            form.get("name", ""), form.get("password", ""), address_of(request)
        )
        wanted = form.get("next", "")
        response = RedirectResponse(wanted if self._known(wanted) else HOME_PATH, SEE_OTHER)
        response.headers["Set-Cookie"] = session_cookie(session.token, secure=self._secure)
        return response

    async def _register(self, request: Request, form: Form) -> Response:
        name, password = form.get("name", ""), form.get("password", "")
        await self._sessions.register(name, password, address_of(request))
        return await self._log_in(request, form)

    async def _log_out(self, request: Request, _form: Form) -> Response:
        found = await self.caller_of(request)
        if found is not None:
            await self._sessions.log_out(found[1], address_of(request))
        response = RedirectResponse(LOGIN_PATH, SEE_OTHER)
        response.headers["Set-Cookie"] = cleared_cookie(secure=self._secure)
        return response
