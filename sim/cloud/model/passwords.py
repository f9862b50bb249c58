"""Passwords as scrypt hashes.

A hash takes tens of milliseconds, so a server never makes one in the thread that serves devices.
"""

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from typing import Final, Self

from sim.cloud.errors import BadRequestError

PASSWORD_CHARS: Final = range(8, 129)
SALT_BYTES: Final = 16
_HASH_BYTES: Final = 32
_MEMORY: Final = 128 * 1024 * 1024  # bytes that OpenSSL may use for one hash
_MAX_LOG_N: Final = 17  # 128 MiB at r = 8; beyond that a stored parameter is damaged


@dataclass(frozen=True, slots=True)
class Cost:
    """Parameters of scrypt: N as a power of two, r and p. Every hash is kept with them, as `14:8:1`."""

    log_n: int = 14
    r: int = 8
    p: int = 1

    def __str__(self) -> str:
        return f"{self.log_n}:{self.r}:{self.p}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises `ValueError` for what `str` does not write."""
        log_n, r, p = (int(part) for part in text.split(":"))
        if not 1 <= log_n <= _MAX_LOG_N or not 1 <= r <= 8 or not 1 <= p <= 4:
            raise ValueError("parameters of scrypt out of range")
        return cls(log_n, r, p)


COST: Final = Cost()  # of new hashes; older ones are renewed at the next log-in


@dataclass(frozen=True, slots=True)
class PasswordHash:
    """A stored password."""

    salt: bytes = field(repr=False)
    digest: bytes = field(repr=False)
    cost: Cost = COST

    @classmethod
    def of(cls, password: str, cost: Cost = COST) -> Self:
        salt = secrets.token_bytes(SALT_BYTES)
        return cls(salt, _scrypt(password, salt, cost), cost)

    def fits(self, password: str) -> bool:
        return hmac.compare_digest(_scrypt(password, self.salt, self.cost), self.digest)

    @property
    def outdated(self) -> bool:
        return self.cost != COST


#: Fits no password. Checking it makes an unknown name cost what a known one costs.
DECOY: Final = PasswordHash(bytes(SALT_BYTES), bytes(_HASH_BYTES))


def check_password_rules(name: str, password: object) -> str:
    """`password` if account `name` may have it. Raises `BadRequestError`."""
    low, high = PASSWORD_CHARS.start, PASSWORD_CHARS.stop - 1
    if not isinstance(password, str) or len(password) not in PASSWORD_CHARS:
        raise BadRequestError(f"the password must have {low} to {high} characters")
    if password.lower() == name.lower():
        raise BadRequestError("the password must not be the account name")
    return password


def _scrypt(password: str, salt: bytes, cost: Cost) -> bytes:
    raw = password.encode("utf-8", "surrogatepass")
    return hashlib.scrypt(
        raw, salt=salt, n=2**cost.log_n, r=cost.r, p=cost.p, dklen=_HASH_BYTES, maxmem=2 * _MEMORY
    )
