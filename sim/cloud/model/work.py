"""One open transaction on behalf of a caller: what every function of this package works with."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sqlalchemy import ColumnElement, true
from sqlalchemy.orm import Session

from sim.cloud.errors import ForbiddenError
from sim.cloud.model.tables import Product
from sim.cloud.shapes import OPERATOR


class Scope(StrEnum):
    """What a caller may do with the objects of its account."""

    READ = "read"  # see everything but keys
    MANAGE = "manage"  # products and devices
    KEYS = "keys"  # be shown ProductKeys and DeviceKeys
    FIRMWARE = "firmware"  # upload and delete packages
    TASKS = "tasks"  # create and steer OTA tasks
    CONSOLE = "console"  # Web Shell and Web Log
    ACCOUNT = "account"  # password and API tokens


ALL_SCOPES: Final = frozenset(Scope)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. `account` is the id of the account; None is the operator of the cloud, who sees everything.

    `name` is the account's. `address` is the IP address a request came from, `session` the id of the log-in
    session, `token` the name of the API token it came with.
    """

    account: int | None
    name: str
    scopes: frozenset[Scope] = ALL_SCOPES
    address: str = ""
    session: int | None = None
    token: str | None = None

    @property
    def label(self) -> str:
        """For the audit log."""
        return self.name if self.token is None else f"{self.name} (token {self.token})"

    def require(self, scope: Scope) -> None:
        """Raises `ForbiddenError` without this scope."""
        if scope not in self.scopes:
            raise ForbiddenError(f"this token lacks the scope {scope}")

    def require_operator(self) -> None:
        """Raises `ForbiddenError` for everybody but the operator."""
        if self.account is not None:
            raise ForbiddenError("only the operator of the cloud may do this")


OPERATOR_CALLER: Final = Caller(None, OPERATOR)
_NO_ACCOUNT: Final = 0  # ids count from 1


def stranger(address: str) -> Caller:
    """Somebody who has not logged in: sees nothing and may do nothing."""
    return Caller(_NO_ACCOUNT, "", frozenset(), address)


@dataclass(frozen=True, slots=True)
class Work:
    """`now` is seconds since 1970."""

    session: Session
    now: int
    caller: Caller

    def visible(self) -> ColumnElement[bool]:
        """The condition that a product is the caller's. What is not is unknown to it, not forbidden."""
        return true() if self.caller.account is None else Product.account_id == self.caller.account

    def sees(self, product: Product) -> bool:
        return self.caller.account in (None, product.account_id)
