"""API tokens: what scripts log in with. The secret is shown once and kept as a hash."""

import secrets
from collections.abc import Sequence
from typing import Final

from sqlalchemy import func, select

from sim.cloud.errors import (
    BadRequestError,
    DuplicateTokenError,
    ForbiddenError,
    LimitReachedError,
    UnknownTokenError,
)
from sim.cloud.model.accounts import owner_account
from sim.cloud.model.audit import audit
from sim.cloud.model.sessions import token_hash
from sim.cloud.model.tables import ApiToken
from sim.cloud.model.text import NAME_CHARS, check_text, is_int
from sim.cloud.model.work import Caller, Scope, Work
from sim.cloud.shapes import TokenInfo

PREFIX: Final = "cs_"  # by which scanners for leaked secrets know a token
TOKEN_BYTES: Final = 32  # of randomness
TOKENS_PER_ACCOUNT: Final = 64
LONGEST: Final = 10 * 366 * 24 * 3600  # seconds that a token may be asked to last
TOUCH: Final = 60  # seconds; the last use is written down no more often


def create_token(
    work: Work, name: str, scopes: Sequence[str], expires_at: int | None, *, account: str
) -> TokenInfo:
    """A new token of `account`; without `expires_at`, seconds since 1970, it lasts until it is deleted.

    Raises `ForbiddenError` for a scope that the caller lacks.
    """
    check_text("the token name", name, NAME_CHARS)
    try:
        wanted = {Scope(scope) for scope in scopes}
    except ValueError:
        raise BadRequestError(f"the scopes are {', '.join(Scope)}") from None
    if not wanted:
        raise BadRequestError("a token without a scope is of no use: name at least one")
    missing = wanted - work.caller.scopes
    if missing:
        raise ForbiddenError(f"a token cannot have the scope {min(missing)}, which its maker lacks")
    if expires_at is not None and not (is_int(expires_at) and work.now < expires_at <= work.now + LONGEST):
        raise BadRequestError("the token must expire in the future, within ten years")
    owner = owner_account(work, account)
    taken = select(ApiToken.id).where(ApiToken.account_id == owner.id, ApiToken.name == name)
    if work.session.scalar(taken) is not None:
        raise DuplicateTokenError(f"there is a token {name} already: choose another name")
    count = select(func.count()).where(ApiToken.account_id == owner.id)
    if work.session.scalars(count).one() >= TOKENS_PER_ACCOUNT:
        raise LimitReachedError(f"the account has all of its {TOKENS_PER_ACCOUNT} tokens: delete one")
    secret = PREFIX + secrets.token_urlsafe(TOKEN_BYTES)
    token = ApiToken(
        account=owner,
        name=name,
        token_hash=token_hash(secret),
        scopes=" ".join(sorted(wanted)),
        created_at=work.now,
        expires_at=expires_at,
    )
    work.session.add(token)
    work.session.flush()
    audit(work, "token.create", name, token.scopes, account=owner.id)
    return {**token_info(token), "token": secret}


def list_tokens(work: Work) -> list[TokenInfo]:
    """The caller's tokens; for the operator everybody's."""
    query = select(ApiToken).order_by(ApiToken.id)
    if work.caller.account is not None:
        query = query.where(ApiToken.account_id == work.caller.account)
    return [token_info(token) for token in work.session.scalars(query)]


def delete_token(work: Work, token_id: int) -> None:
    token = work.session.get(ApiToken, token_id)
    if token is None or work.caller.account not in (None, token.account_id):
        raise UnknownTokenError(f"there is no token {token_id}")
    audit(work, "token.delete", token.name, account=token.account_id)
    work.session.delete(token)


def caller_of_token(work: Work, secret: str) -> Caller | None:
    """Whose token this is; None if it is nobody's, has expired, or its account is disabled. Notes the use."""
    token = work.session.scalar(select(ApiToken).where(ApiToken.token_hash == token_hash(secret)))
    if token is None or token.account.disabled:
        return None
    if token.expires_at is not None and token.expires_at <= work.now:
        return None
    if token.last_used_at is None or token.last_used_at <= work.now - TOUCH:
        token.last_used_at = work.now
    scopes = frozenset(Scope(scope) for scope in token.scopes.split())
    return Caller(token.account_id, token.account.name, scopes, work.caller.address, token=token.name)


def token_info(token: ApiToken) -> TokenInfo:
    return TokenInfo(
        id=token.id,
        account=token.account.name,
        name=token.name,
        scopes=token.scopes.split(),
        created_at=token.created_at,
        last_used_at=token.last_used_at,
        expires_at=token.expires_at,
    )
