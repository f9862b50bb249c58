"""Who is behind a request: log-in, sessions and tokens, for every part of the cloud that people reach.

Passwords are checked in threads of their own, a few at a time, so that a flood of log-ins stops neither the
event loop nor the thread that serves devices.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Final, Literal, ParamSpec, TypeVar

from sim.cloud.errors import (
    AccountDisabledError,
    BadLoginError,
    BadRequestError,
    RegistrationClosedError,
    TooManyAttemptsError,
)
from sim.cloud.model import accounts, sessions, tokens
from sim.cloud.model.audit import audit
from sim.cloud.model.passwords import DECOY, PASSWORD_CHARS, PasswordHash, check_password_rules
from sim.cloud.model.work import Caller, Scope, stranger
from sim.cloud.operations import Core
from sim.cloud.shapes import AccountInfo, SessionInfo
from sim.cloud.throttle import Throttle, ThrottleLimits, site
from sim.cloud.worker import Worker

COOKIE: Final = "cloudsim_session"
HASH_THREADS: Final = 2
MAX_WAITING: Final = 32  # passwords that wait to be checked; more are turned away
MAX_TOKEN: Final = 256  # characters of what may be a token
NAME_LIMITS: Final = ThrottleLimits(free=5)
ADDRESS_LIMITS: Final = ThrottleLimits(free=30)
REGISTRATION_LIMITS: Final = ThrottleLimits(free=10, first_pause=10.0, longest_pause=3600.0)

Registration = Literal["open", "closed"]
P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class NewSession:
    """A session that has just begun. `token` is the value of its cookie; `expires_at` counts from 1970."""

    token: str = field(repr=False)
    csrf_token: str = field(repr=False)
    caller: Caller
    expires_at: int


class Sessions:
    """Use it on the event loop. `monotonic` gives seconds, for the pauses after failed log-ins.

    `address` is always the IP address that a request came from.
    """

    def __init__(
        self,
        core: Core,
        worker: Worker,
        *,
        registration: Registration = "open",
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.registration: Final = registration
        self._core = core
        self._worker = worker
        self._monotonic = monotonic
        self._hashing = ThreadPoolExecutor(HASH_THREADS, thread_name_prefix="cloud-password")
        self._waiting = 0
        self._names = Throttle(NAME_LIMITS)
        self._addresses = Throttle(ADDRESS_LIMITS)
        self._registrations = Throttle(REGISTRATION_LIMITS)

    def close(self) -> None:
        self._hashing.shutdown(cancel_futures=True)

    # Accounts

    async def register(self, name: str, password: str, address: str) -> AccountInfo:
        """Create an account for whoever asks.

        Raises `RegistrationClosedError`, `TooManyAttemptsError`, `BadRequestError`, `DuplicateAccountError`.
        """
        if self.registration != "open":
            raise RegistrationClosedError(
                "registration is closed: the operator of the cloud creates accounts"
            )
        name = accounts.canonical_name(name)
        check_password_rules(name, password)
        self._admit([(self._registrations, site(address))])
        hashed = await self.hash(name, password)

        def create() -> AccountInfo:
            with self._core.work(stranger(address)) as work:
                return accounts.create_account(work, name, hashed)

        return await self._worker.run(create)

    async def hash(self, name: str, password: str) -> PasswordHash:
        """The hash of a new password for `name`. Raises `BadRequestError` for one that is not allowed."""
        check_password_rules(name, password)
        return await self._hash(PasswordHash.of, password)

    async def log_in(self, name: str, password: str, address: str) -> NewSession:
        """Begin a session.

        Raises `BadLoginError`, `AccountDisabledError`, or, during the pause that follows failures and for the
        right password too, `TooManyAttemptsError`.
        """
        try:
            name = accounts.canonical_name(name)
        except BadRequestError:
            name = ""
        keys = [(self._names, name), (self._addresses, site(address))]
        await self._admit_login(keys, name, address)
        login = await self._worker.run(self._login_of, name)
        if not await self._fits(login.password if login is not None else DECOY, password) or login is None:
            await self._worker.run(self._note, "account.login-refused", login, address)
            raise BadLoginError("name or password is wrong")
        self._names.succeeded(name)
        self._addresses.take_back(site(address))
        if login.disabled:
            await self._worker.run(self._note, "account.login-refused", login, address, "disabled")
            raise AccountDisabledError(f"the account {login.name} is disabled: ask the operator of the cloud")
        if login.password.outdated:
            login = await self._renewed(login, password)
        return await self._worker.run(self._open, login, address)

    async def change_password(self, caller: Caller, old: str, new: str) -> None:
        """Change the caller's own password and end all of its other sessions. API tokens stay.

        Raises `BadLoginError` when `old` is wrong, `ForbiddenError`, `BadRequestError` or
        `TooManyAttemptsError`.
        """
        caller.require(Scope.ACCOUNT)
        login = await self._worker.run(self._own_login, caller)
        if login is None:
            raise BadLoginError("the account has no password: the operator of the cloud sets one")
        check_password_rules(login.name, new)
        await self._admit_login([(self._names, login.name)], login.name, caller.address)
        if not await self._fits(login.password, old):
            await self._worker.run(self._note, "account.password-refused", login, caller.address)
            raise BadLoginError("the old password is wrong")
        self._names.succeeded(login.name)
        hashed = await self.hash(login.name, new)

        def change() -> None:
            with self._core.work(caller) as work:
                account = accounts.find_account(work, login.account)
                if account.password_hash != login.password.digest:
                    raise BadLoginError("the old password is wrong")
                accounts.set_password(work, account, hashed)
                sessions.close_sessions(work, account.id, but=caller.session)

        await self._worker.run(change)

    # Whose request is this

    async def caller_of(self, cookie: str | None, address: str) -> Caller | None:
        """Whose session the cookie value belongs to; None without one that is valid."""
        if not cookie or len(cookie) > MAX_TOKEN:
            return None
        found = await self._worker.run(self._session_of, cookie, address)
        return found[0] if found is not None else None

    async def caller_of_token(self, token: str, address: str) -> Caller | None:
        """Whose API token this is."""
        if not token.startswith(tokens.PREFIX) or len(token) > MAX_TOKEN:
            return None

        def find() -> Caller | None:
            with self._core.work(stranger(address)) as work:
                return tokens.caller_of_token(work, token)

        return await self._worker.run(find)

    async def describe(self, caller: Caller, cookie: str | None) -> SessionInfo:
        """The caller as the API shows it; `cookie` is the value of its session."""
        if cookie is not None and caller.session is not None:
            found = await self._worker.run(self._session_of, cookie, caller.address)
            if found is not None:
                return session_info(caller, sessions.csrf_token(cookie), found[1])
        return session_info(caller, None, None)

    async def log_out(self, cookie: str, address: str) -> None:
        """End the session of this cookie value, if there is one."""

        def close() -> None:
            with self._core.work(stranger(address)) as work:
                session = sessions.find_session(work, cookie)
                if session is not None:
                    sessions.close_session(work, session)

        await self._worker.run(close)

    # In the thread of the database

    def _login_of(self, name: str) -> accounts.Login | None:
        with self._core.work(stranger("")) as work:
            return accounts.login_of(work, name)

    def _own_login(self, caller: Caller) -> accounts.Login | None:
        with self._core.work(caller) as work:
            return accounts.own_login(work)

    def _open(self, login: accounts.Login, address: str) -> NewSession:
        with self._core.work(stranger(address)) as work:
            opened = sessions.open_session(work, login)
            if opened is None:
                raise BadLoginError("name or password is wrong")
            row, token = opened
            caller = sessions.caller_of(row, address)
            return NewSession(token, sessions.csrf_token(token), caller, row.expires_at)

    def _session_of(self, cookie: str, address: str) -> tuple[Caller, int] | None:
        with self._core.work(stranger(address)) as work:
            session = sessions.find_session(work, cookie)
            return (sessions.caller_of(session, address), session.expires_at) if session is not None else None

    def _note(self, action: str, login: accounts.Login | None, address: str, detail: str = "") -> None:
        # An unknown name stays out of it: people type passwords there.
        with self._core.work(stranger(address)) as work:
            name, account = (login.name, login.account) if login is not None else ("?", None)
            audit(work, action, name, detail, account=account)

    # Pauses and passwords

    async def _admit_login(self, keys: "list[tuple[Throttle, str]]", name: str, address: str) -> None:
        """Count an attempt; the first that begins a pause is noted."""
        now = self._monotonic()
        before = [throttle.pause(key, now) for throttle, key in keys]
        self._admit(keys)
        if not any(before) and any(throttle.pause(key, now) for throttle, key in keys):
            login = await self._worker.run(self._login_of, name)
            await self._worker.run(self._note, "account.login-paused", login, address)

    def _admit(self, keys: "list[tuple[Throttle, str]]") -> None:
        now = self._monotonic()
        pause = max(throttle.pause(key, now) for throttle, key in keys)
        if pause > 0:
            raise TooManyAttemptsError(f"too many attempts: try again in {pause:.0f} s", pause)
        for throttle, key in keys:
            throttle.attempt(key, now)

    async def _fits(self, stored: PasswordHash, password: str) -> bool:
        if len(password) not in PASSWORD_CHARS:
            password = ""  # it takes as long, and fits nothing
        return await self._hash(stored.fits, password)

    async def _renewed(self, login: accounts.Login, password: str) -> accounts.Login:
        hashed = await self._hash(PasswordHash.of, password)

        def renew() -> accounts.Login | None:
            with self._core.work(stranger("")) as work:
                accounts.renew_hash(work, login, hashed)
                return accounts.login_of(work, login.name)

        return await self._worker.run(renew) or login

    async def _hash(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        if self._waiting >= MAX_WAITING:
            raise TooManyAttemptsError("the cloud is checking as many passwords as it can: try again")
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._hashing, lambda: call(*args, **kwargs))
        finally:
            self._waiting -= 1


def session_info(caller: Caller, csrf_token: str | None, expires_at: int | None) -> SessionInfo:
    return SessionInfo(
        account=caller.name,
        scopes=sorted(caller.scopes),
        csrf_token=csrf_token,
        expires_at=expires_at,
    )


def cookie_value(header: str | None) -> str | None:
    """The session's value in a `Cookie` header, None without one."""
    try:
        morsel = SimpleCookie(header or "").get(COOKIE)
    except CookieError:
        return None
    return morsel.value if morsel is not None and morsel.value else None


def session_cookie(token: str, *, secure: bool) -> str:
    """The `Set-Cookie` header that begins a session in a browser. `secure` where the cloud has TLS."""
    return f"{COOKIE}={token}; Path=/; Max-Age={sessions.LONGEST}; HttpOnly; SameSite=Strict" + (
        "; Secure" if secure else ""
    )


def cleared_cookie(*, secure: bool) -> str:
    """The `Set-Cookie` header that ends it."""
    return f"{COOKIE}=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict" + ("; Secure" if secure else "")
