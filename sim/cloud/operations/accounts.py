"""Accounts (platform 1)."""

from sim.cloud.model import accounts
from sim.cloud.model.work import Scope
from sim.cloud.operations.base import BaseOperations
from sim.cloud.shapes import AccountInfo


class AccountOperations(BaseOperations):
    def create_account(self, name: str, password: str) -> AccountInfo:
        with self._work(Scope.ACCOUNT) as work:
            return accounts.create_account(work, name, password)
