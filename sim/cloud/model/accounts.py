"""Accounts (platform 1). Passwords come in as hashes: see `passwords`."""

import re
from dataclasses import dataclass
from typing import Final

from sqlalchemy import func, select

from sim.cloud.errors import BadRequestError, DuplicateAccountError, LimitReachedError, UnknownAccountError
from sim.cloud.model.audit import audit
from sim.cloud.model.passwords import Cost, PasswordHash
from sim.cloud.model.tables import Account
from sim.cloud.model.work import Work
from sim.cloud.shapes import OPERATOR, AccountInfo

MAX_ACCOUNTS: Final = 10_000
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,63}")
_FIRST_COST: Final = Cost(14, 8, 1)  # of hashes that were stored without their parameters


@dataclass(frozen=True, slots=True)
class Login:
    """What a log-in is checked against."""

    account: int
    name: str
    password: PasswordHash
    disabled: bool


def canonical_name(name: object) -> str:
    """The account name in lower case. Raises `BadRequestError` for what cannot be one."""
    lower = name.lower() if isinstance(name, str) else ""
    if not _NAME.fullmatch(lower):
        raise BadRequestError(
            "the account name has 1 to 64 letters a-z, digits or . _ @ + - and begin with a letter or digit"
        )
    return lower


def create_account(work: Work, name: str, password: PasswordHash | None) -> AccountInfo:
    """Register an account; without a password nobody can log in to it.

    The name `operator` is the local operator's, who did not have to register it.
    """
    account = _add_account(work, canonical_name(name), password)
    audit(work, "account.create", account.name, account=account.id)
    return account_info(account)


def _add_account(
    work: Work, name: str, password: PasswordHash | None, *, reserved: str = OPERATOR
) -> Account:
    if name == reserved or _by_name(work, name) is not None:
        raise DuplicateAccountError(f"there is an account {name} already: choose another name")
    if work.session.scalars(select(func.count()).select_from(Account)).one() >= MAX_ACCOUNTS:
        raise LimitReachedError(f"the cloud has all of its {MAX_ACCOUNTS} accounts")
    account = Account(name=name, created_at=work.now, disabled=False)
    if password is not None:
        _store(account, password)
    work.session.add(account)
    work.session.flush()
    return account


def _store(account: Account, password: PasswordHash) -> None:
    account.salt, account.password_hash = password.salt, password.digest
    account.password_cost = str(password.cost)


def _by_name(work: Work, name: str) -> Account | None:
    return work.session.scalar(select(Account).where(Account.name == name))


def login_of(work: Work, name: str) -> Login | None:
    """What a log-in as `name`, a canonical name, is checked against; None if nobody can log in so."""
    account = _by_name(work, name)
    return _login(account) if account is not None else None


def own_login(work: Work) -> Login | None:
    """What the caller's own password is checked against."""
    account = work.session.get(Account, work.caller.account) if work.caller.account else None
    return _login(account) if account is not None else None


def _login(account: Account) -> Login | None:
    if account.salt is None or account.password_hash is None:
        return None
    cost = Cost.parse(account.password_cost) if account.password_cost else _FIRST_COST
    stored = PasswordHash(account.salt, account.password_hash, cost)
    return Login(account.id, account.name, stored, account.disabled)


def set_password(work: Work, account: Account, password: PasswordHash) -> None:
    _store(account, password)
    audit(work, "account.password", account.name, account=account.id)


def renew_hash(work: Work, login: Login, password: PasswordHash) -> None:
    """Keep the same password under new parameters, unless it has changed meanwhile."""
    account = work.session.get(Account, login.account)
    if account is not None and account.password_hash == login.password.digest:
        _store(account, password)


def set_enabled(work: Work, account: Account, *, enabled: bool) -> None:
    """A disabled account cannot log in and its tokens are refused. Its devices go on: they are not people."""
    account.disabled = not enabled
    audit(work, "account.enable" if enabled else "account.disable", account.name, account=account.id)


def find_account(work: Work, account_id: int) -> Account:
    """An account that the caller may know of: its own, any for the operator."""
    account = work.session.get(Account, account_id)
    if account is None or work.caller.account not in (None, account.id):
        raise UnknownAccountError(f"there is no account {account_id}")
    return account


def list_accounts(work: Work, name: str | None = None) -> list[AccountInfo]:
    """The caller's account; for the operator all."""
    query = select(Account).order_by(Account.id)
    if work.caller.account is not None:
        query = query.where(Account.id == work.caller.account)
    if name is not None:
        query = query.where(Account.name == name.lower())
    return [account_info(account) for account in work.session.scalars(query)]


def owner_account(work: Work, name: str) -> Account:
    """The account that something new belongs to: the caller's own, which `operator` stands for, too. Only the
    operator may name another one."""
    if work.caller.account is not None:
        own = work.session.get(Account, work.caller.account)
        if own is None or name not in (OPERATOR, own.name):
            raise UnknownAccountError(f"there is no account {name}")
        return own
    account = _by_name(work, name.lower())
    if account is None:
        if name != OPERATOR:
            raise UnknownAccountError(f"there is no account {name}")
        account = _add_account(work, OPERATOR, None, reserved="")
        audit(work, "account.create", OPERATOR, account=account.id)
    return account


def account_info(account: Account) -> AccountInfo:
    return AccountInfo(
        id=account.id,
        name=account.name,
        disabled=account.disabled,
        can_log_in=account.password_hash is not None and not account.disabled,
        last_login_at=account.last_login_at,
        created_at=account.created_at,
    )
