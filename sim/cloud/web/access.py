"""Whose browser it is. Pages other than the public ones need a caller."""

from typing import Final

from starlette.requests import HTTPConnection

from sim.cloud.model.work import OPERATOR_CALLER, Caller

#: Who looks at a public page.
NOBODY: Final = Caller(0, "", frozenset())


async def caller_of(_connection: HTTPConnection) -> Caller | None:
    """Who the request comes from, None for a stranger."""
    return OPERATOR_CALLER
