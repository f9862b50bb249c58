"""Log-in of browsers (platform 1). Scripts use tokens."""

from fastapi import APIRouter, Request, Response

from sim.cloud.api.context import Authenticated, Body, Context, address_of, refuse_other_sites
from sim.cloud.sessions import cleared_cookie, session_cookie, session_info
from sim.cloud.shapes import AccountInfo, SessionInfo

router = APIRouter(tags=["accounts"])


class Credentials(Body):
    name: str
    password: str


class PasswordChange(Body):
    old: str
    new: str


@router.post("/registrations", status_code=201)
async def register(context: Context, request: Request, body: Credentials) -> AccountInfo:
    """Create an account for yourself."""
    refuse_other_sites(request)
    return await context.sessions.register(body.name, body.password, address_of(request))


@router.post("/session", status_code=201)
async def log_in(context: Context, request: Request, response: Response, body: Credentials) -> SessionInfo:
    """Begin a session; the answer sets its cookie."""
    refuse_other_sites(request)
    session = await context.sessions.log_in(body.name, body.password, address_of(request))
    response.headers["Set-Cookie"] = session_cookie(session.token, secure=context.secure)
    return session_info(session.caller, session.csrf_token, session.expires_at)


@router.get("/session")
async def show_session(call: Authenticated) -> SessionInfo:
    """Who you are, and the token to send as `X-CSRF-Token` with everything that changes something."""
    return await call.context.sessions.describe(call.caller, call.cookie)


@router.delete("/session", status_code=204)
async def log_out(call: Authenticated, response: Response) -> None:
    """End the session."""
    if call.cookie is not None:
        await call.context.sessions.log_out(call.cookie, call.caller.address)
    response.headers["Set-Cookie"] = cleared_cookie(secure=call.context.secure)


@router.put("/session/password", status_code=204)
async def change_password(call: Authenticated, body: PasswordChange) -> None:
    """Change your password. All your other sessions end."""
    await call.context.sessions.change_password(call.caller, body.old, body.new)
