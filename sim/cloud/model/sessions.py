"""Log-in sessions of browsers, as rows."""

import hashlib
import hmac
import secrets
from typing import Final

from sqlalchemy import delete, select

from sim.cloud.model.accounts import Login
from sim.cloud.model.audit import audit
from sim.cloud.model.tables import Account, LoginSession
from sim.cloud.model.work import ALL_SCOPES, Caller, Work

TOKEN_BYTES: Final = 32  # of randomness
IDLE: Final = 12 * 3600  # seconds without a request after which a session ends
LONGEST: Final = 7 * 24 * 3600  # seconds after which it ends in any case
SESSIONS_PER_ACCOUNT: Final = 32  # the oldest one ends when another begins
TOUCH: Final = 60  # seconds; the last use is written down no more often


def token_hash(token: str) -> str:
    """What is stored in place of a token. Tokens are random, so one round of SHA-256 will do."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def csrf_token(token: str) -> str:
    """What a page of this session must show with everything that it changes."""
    return hmac.new(token.encode("utf-8", "surrogatepass"), b"csrf", hashlib.sha256).hexdigest()


def open_session(work: Work, login: Login) -> tuple[LoginSession, str] | None:
    """A new session and its token; None if password or account have changed since `login` was read."""
    account = work.session.get(Account, login.account)
    if account is None or account.disabled or account.password_hash != login.password.digest:
        return None
    token = secrets.token_urlsafe(TOKEN_BYTES)
    account.last_login_at = work.now
    _make_room(work, account.id)
    session = LoginSession(
        account=account,
        token_hash=token_hash(token),
        address=work.caller.address[:64],
        created_at=work.now,
        last_used_at=work.now,
        expires_at=work.now + LONGEST,
    )
    work.session.add(session)
    audit(work, "account.login", account.name, account=account.id, actor=account.name)
    return session, token


def _make_room(work: Work, account: int) -> None:
    """Drop sessions that ended, whoever's, and the account's oldest ones beyond the limit."""
    over = (LoginSession.expires_at <= work.now) | (LoginSession.last_used_at <= work.now - IDLE)
    work.session.execute(delete(LoginSession).where(over))
    own = select(LoginSession.id).where(LoginSession.account_id == account)
    too_many = work.session.scalars(
        own.order_by(LoginSession.id.desc()).offset(SESSIONS_PER_ACCOUNT - 1)
    ).all()
    if too_many:
        work.session.execute(delete(LoginSession).where(LoginSession.id.in_(too_many)))


def find_session(work: Work, token: str) -> LoginSession | None:
    """The session of a cookie, if it has not ended and its account is enabled. Notes the use."""
    session = work.session.scalar(select(LoginSession).where(LoginSession.token_hash == token_hash(token)))
    if session is None or session.account.disabled:
        return None
    if session.expires_at <= work.now or session.last_used_at <= work.now - IDLE:
        return None
    if session.last_used_at <= work.now - TOUCH:
        session.last_used_at = work.now
    return session


def caller_of(session: LoginSession, address: str) -> Caller:
    return Caller(session.account_id, session.account.name, ALL_SCOPES, address, session.id)


def close_session(work: Work, session: LoginSession) -> None:
    audit(
        work, "account.logout", session.account.name, account=session.account_id, actor=session.account.name
    )
    work.session.delete(session)


def close_sessions(work: Work, account: int, *, but: int | None = None) -> None:
    """End all sessions of `account`, except the one with the id `but`."""
    kept = LoginSession.id != but if but is not None else LoginSession.id.is_not(None)
    work.session.execute(delete(LoginSession).where(LoginSession.account_id == account, kept))
