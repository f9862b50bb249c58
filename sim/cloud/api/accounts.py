"""Accounts (platform 1): what the operator does with them, and their API tokens and audit log."""

from fastapi import APIRouter

from sim.cloud.api.context import Authenticated, Body
from sim.cloud.operations import Operations
from sim.cloud.shapes import OPERATOR, AccountInfo, AuditInfo, Page, TokenInfo

router = APIRouter(tags=["accounts"])


class NewAccount(Body):
    name: str
    password: str


class AccountChange(Body):
    disabled: bool | None = None
    password: str | None = None


class NewToken(Body):
    name: str
    scopes: list[str]
    expires_at: int | None = None
    account: str = OPERATOR


@router.get("/accounts")
async def list_accounts(call: Authenticated, name: str | None = None) -> list[AccountInfo]:
    """Your account; for the operator all of them."""
    return await call.run(Operations.list_accounts, name)


@router.post("/accounts", status_code=201)
async def create_account(call: Authenticated, body: NewAccount) -> AccountInfo:
    """For the operator; everybody else registers."""
    call.caller.require_operator()
    hashed = await call.context.sessions.hash(body.name, body.password)
    return await call.run(Operations.add_account, body.name, hashed)


@router.patch("/accounts/{account_id}")
async def change_account(call: Authenticated, account_id: int, body: AccountChange) -> AccountInfo:
    """For the operator. A disabled account cannot log in, its tokens are refused; its devices go on."""
    account = await call.run(Operations.show_account, account_id)
    call.caller.require_operator()
    if body.password is not None:
        hashed = await call.context.sessions.hash(account["name"], body.password)
        account = await call.run(Operations.replace_password, account_id, hashed)
    if body.disabled is not None:
        account = await call.run(Operations.set_account_enabled, account_id, not body.disabled)
    return account


@router.get("/tokens")
async def list_tokens(call: Authenticated) -> list[TokenInfo]:
    return await call.run(Operations.list_tokens)


@router.post("/tokens", status_code=201)
async def create_token(call: Authenticated, body: NewToken) -> TokenInfo:
    """The answer holds the token; it is not shown again."""
    return await call.run(
        Operations.create_token, body.name, body.scopes, body.expires_at, account=body.account
    )


@router.delete("/tokens/{token_id}", status_code=204)
async def delete_token(call: Authenticated, token_id: int) -> None:
    await call.run(Operations.delete_token, token_id)


@router.get("/audit")
async def page_audit(
    call: Authenticated,
    action: str | None = None,
    subject: str | None = None,
    since: int | None = None,
    until: int | None = None,
    after: int = 0,
    limit: int = 100,
) -> Page[AuditInfo]:
    """Who did what, newest first. `action` is a prefix; `until` is not included."""
    return await call.run(
        Operations.page_audit,
        action=action,
        subject=subject,
        since=since,
        until=until,
        after=after,
        limit=limit,
    )
