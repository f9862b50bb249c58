"""Accounts and their passwords."""

import hashlib
import hmac
import secrets
from typing import Final

from sqlalchemy import select

from sim.cloud.errors import BadRequestError, DuplicateAccountError, UnknownAccountError
from sim.cloud.model.audit import audit
from sim.cloud.model.tables import Account
from sim.cloud.model.text import NAME_CHARS, check_text
from sim.cloud.model.work import Work
from sim.cloud.shapes import OPERATOR, AccountInfo

PASSWORD_CHARS: Final = range(8, 129)

_SCRYPT: Final = {"n": 2**14, "r": 8, "p": 1, "dklen": 32}


def create_account(work: Work, name: str, password: str | None) -> AccountInfo:
    """Register an account; without a password nobody can log in to it."""
    check_text("the account name", name, NAME_CHARS)
    if work.session.scalar(select(Account.id).where(Account.name == name)) is not None:
        raise DuplicateAccountError(f"there is an account {name} already")
    salt = hashed = None
    if password is not None:
        if not isinstance(password, str) or len(password) not in PASSWORD_CHARS:
            low, high = PASSWORD_CHARS.start, PASSWORD_CHARS.stop - 1
            raise BadRequestError(f"the password must have {low} to {high} characters")
        salt = secrets.token_bytes(16)
        hashed = hash_password(password, salt)
    work.session.add(Account(name=name, salt=salt, password_hash=hashed, created_at=work.now))
    audit(work, "account.create", name)
    return AccountInfo(name=name, created_at=work.now)


def hash_password(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode("utf-8", "surrogatepass"), salt=salt, **_SCRYPT)


def check_password(work: Work, name: str, password: str) -> bool:
    """True if the account exists, can log in, and this is its password."""
    account = work.session.scalar(select(Account).where(Account.name == name))
    if account is None or account.salt is None or account.password_hash is None:
        return False
    return hmac.compare_digest(hash_password(password, account.salt), account.password_hash)


def owner_account(work: Work, name: str) -> Account:
    account = work.session.scalar(select(Account).where(Account.name == name))
    if account is None:
        if name != OPERATOR:
            raise UnknownAccountError(f"there is no account {name}")
        create_account(work, OPERATOR, None)
        account = work.session.scalars(select(Account).where(Account.name == OPERATOR)).one()
    return account
