"""What the tests of products and devices share."""

from typing import Protocol

import pytest
from sqlalchemy import select

from cloudsdk.errors import CloudSdkError
from sim.cloud.model.tables import Account, AuditEntry
from sim.cloud.model.work import ALL_SCOPES, OPERATOR_CALLER, Caller, Scope
from sim.cloud.operations import Operations
from sim.cloud.service import Service


class Clock(Protocol):
    now: float


def refused(call: object, *args: object, **kwargs: object) -> str:
    """The code of the error that `call` raises."""
    assert callable(call)
    with pytest.raises(CloudSdkError) as error:
        call(*args, **kwargs)
    assert "\n" not in str(error.value)
    return error.value.code


def audited(service: Service) -> list[str]:
    """The actions in the audit log, oldest first."""
    with service.core.work(OPERATOR_CALLER) as work:
        return list(work.session.scalars(select(AuditEntry.action).order_by(AuditEntry.id)))


def as_account(service: Service, name: str, scopes: frozenset[Scope] = ALL_SCOPES) -> Operations:
    """The operations of a new account."""
    service.create_account(name, "long enough")
    with service.core.work(OPERATOR_CALLER) as work:
        account = work.session.scalars(select(Account).where(Account.name == name)).one()
    return service.acting_as(Caller(account.id, name, scopes))
