"""Accounts (platform 1)."""

from typing import cast

from sim.cloud.client.http import ApiSession
from sim.cloud.shapes import AccountInfo


class AccountCalls(ApiSession):
    def create_account(self, name: str, password: str) -> AccountInfo:
        return cast(AccountInfo, self._post("/accounts", {"name": name, "password": password}))
