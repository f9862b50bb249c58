"""The API under `/api/v1`: typed, described by OpenAPI 3.1 at `/api/v1/openapi.json`."""

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.requests import Request
from starlette.responses import Response

from sim.cloud.api import (
    accounts,
    consoles,
    devices,
    firmware,
    history,
    packages,
    products,
    session,
    shells,
    tasks,
)
from sim.cloud.api.context import ApiContext
from sim.cloud.api.document import describe
from sim.cloud.errors import BadRequestError
from sim.cloud.responses import exception_handlers, problem


def make_api(context: ApiContext) -> FastAPI:
    """The application to mount. Its documentation pages are off: they would be fetched from elsewhere."""
    api = FastAPI(
        title="cloudsim",
        version="1",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        exception_handlers={RequestValidationError: _invalid, **exception_handlers()},
    )
    api.state.context = context
    for module in (
        session,
        accounts,
        products,
        devices,
        firmware,
        packages,
        tasks,
        consoles,
        shells,
        history,
    ):
        api.include_router(module.router)
    describe(api)
    return api


async def _invalid(_request: Request, error: Exception) -> Response:
    detail = "the request is not what the API documents"
    if isinstance(error, RequestValidationError) and error.errors():
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"][1:]) or str(first["loc"][0])
        # The value stays out of it: it may be a password.
        detail = f"{place[:64]}: {first['msg']}"
    return problem(BadRequestError.http_status, BadRequestError.code, detail)
