"""What the routes of the API get: the cloud, and who calls."""

import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Concatenate, Final, ParamSpec, TypeVar, cast

from fastapi import Depends, Request
from pydantic import BaseModel, ConfigDict

from sim.cloud.errors import UnauthorizedError
from sim.cloud.links import DeviceBroker
from sim.cloud.model.work import OPERATOR_CALLER, Caller
from sim.cloud.operations import Operations
from sim.cloud.service import Service
from sim.cloud.worker import Worker

MAX_JSON: Final = 1024 * 1024  # bytes of a request body; a task may list thousands of devices

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class ApiContext:
    service: Service
    worker: Worker
    broker: DeviceBroker
    admin_token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Call:
    """One authenticated request."""

    context: ApiContext
    caller: Caller

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
    return cast(ApiContext, request.app.state.context)


def _call(request: Request) -> Call:
    context = _context(request)
    given = request.headers.get("authorization", "").encode()
    if not hmac.compare_digest(given, f"Bearer {context.admin_token}".encode()):
        raise UnauthorizedError("the admin token is missing or wrong")
    return Call(context, OPERATOR_CALLER)


Authenticated = Annotated[Call, Depends(_call)]
