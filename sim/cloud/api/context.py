"""What the routes of the API get: the cloud, and who calls."""

import hmac
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Annotated, Concatenate, Final, ParamSpec, TypeVar, cast

from fastapi import Depends, Request
from pydantic import BaseModel, ConfigDict
from starlette.requests import HTTPConnection

from sim.cloud.errors import CrossSiteError, StorageError, UnauthorizedError
from sim.cloud.gateways.consoles import Consoles
from sim.cloud.links import DeviceBroker
from sim.cloud.model.sessions import csrf_token
from sim.cloud.model.work import OPERATOR_CALLER, Caller
from sim.cloud.operations import Operations
from sim.cloud.security import from_another_site
from sim.cloud.service import Service
from sim.cloud.sessions import Sessions, cookie_value
from sim.cloud.worker import Worker

MAX_JSON: Final = 1024 * 1024  # bytes of a request body; a task may list thousands of devices
CSRF_HEADER: Final = "X-CSRF-Token"
_SAFE: Final = ("GET", "HEAD", "OPTIONS")  # methods that change nothing

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class ApiContext:
    """`secure`: the cloud is reached over TLS, so cookies are for TLS alone."""

    service: Service
    worker: Worker
    broker: DeviceBroker
    sessions: Sessions
    consoles: Consoles
    admin_token: str = field(repr=False)
    secure: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """One authenticated request. `cookie` is the session's value, if it came with one."""

    context: ApiContext
    caller: Caller
    cookie: str | None = field(default=None, repr=False)

    async def run(
        self, operation: Callable[Concatenate[Operations, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Carry out `operation`, a method of `Operations`, as the caller."""
        operations = self.context.service.acting_as(self.caller)
        return await self.context.worker.run(operation, operations, *args, **kwargs)


class Body(BaseModel):
    """A request body. Unknown members are refused, and nothing is converted."""

    model_config = ConfigDict(extra="forbid", strict=True)


def _context(request: Request) -> ApiContext:
    return context_of(request)


def context_of(connection: HTTPConnection) -> ApiContext:
    return cast(ApiContext, connection.app.state.context)


def address_of(connection: HTTPConnection) -> str:
    """The IP address of the other end, empty if the server does not know it."""
    return connection.client.host if connection.client is not None else ""


def refuse_other_sites(connection: HTTPConnection) -> None:
    """Raises `CrossSiteError` for what another site's page made a browser send."""
    if from_another_site(connection.headers):
        raise CrossSiteError("the request comes from another site")


async def identify(connection: HTTPConnection) -> Call:
    """Who calls, by token or cookie; raises `UnauthorizedError`.

    A browser sends the cookie whatever page it shows: what changes something needs a proof beside it.
    """
    context = context_of(connection)
    authorization = connection.headers.get("authorization")
    if authorization is not None:
        return Call(context, await _token_caller(context, authorization, address_of(connection)))
    cookie = cookie_value(connection.headers.get("cookie"))
    caller = await context.sessions.caller_of(cookie, address_of(connection))
    if cookie is None or caller is None:
        raise UnauthorizedError("log in, or give a token: none came with the request, or it has expired")
    return Call(context, caller, cookie)


async def still_valid(connection: HTTPConnection) -> bool:
    """Whether the token or session that a long connection began with still counts."""
    try:
        await identify(connection)
    except UnauthorizedError:
        return False
    except StorageError:
        return True  # nobody can tell until the next look
    return True


async def _call(request: Request) -> Call:
    call = await identify(request)
    if call.cookie is not None and request.method not in _SAFE:
        refuse_other_sites(request)
        given = request.headers.get(CSRF_HEADER, "")
        if not hmac.compare_digest(given.encode(), csrf_token(call.cookie).encode()):
            raise CrossSiteError(f"{CSRF_HEADER} is missing or wrong: it must be the session's csrf_token")
    return call


async def _token_caller(context: ApiContext, authorization: str, address: str) -> Caller:
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() == "bearer":
        if hmac.compare_digest(token.encode(), context.admin_token.encode()):
            return replace(OPERATOR_CALLER, address=address)
        caller = await context.sessions.caller_of_token(token, address)
        if caller is not None:
            return caller
    raise UnauthorizedError("the token is missing, wrong or has expired")


Context = Annotated[ApiContext, Depends(_context)]
Authenticated = Annotated[Call, Depends(_call)]
