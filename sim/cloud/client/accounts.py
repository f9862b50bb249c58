"""Accounts, API tokens and the audit log (platform 1)."""

from collections.abc import Sequence
from typing import cast

from sim.cloud.client.http import ApiSession
from sim.cloud.shapes import OPERATOR, AccountInfo, AuditInfo, Page, SessionInfo, TokenInfo


class AccountCalls(ApiSession):
    def session(self) -> SessionInfo:
        """Whose token this is, and its scopes."""
        return cast(SessionInfo, self._get("/session"))

    def create_account(self, name: str, password: str) -> AccountInfo:
        return cast(AccountInfo, self._post("/accounts", {"name": name, "password": password}))

    def list_accounts(self, name: str | None = None) -> list[AccountInfo]:
        return cast(list[AccountInfo], self._get("/accounts", name=name))

    def set_account_enabled(self, account_id: int, enabled: bool) -> AccountInfo:
        return cast(AccountInfo, self._patch(f"/accounts/{account_id}", {"disabled": not enabled}))

    def set_password(self, account_id: int, password: str) -> AccountInfo:
        return cast(AccountInfo, self._patch(f"/accounts/{account_id}", {"password": password}))

    def create_token(
        self, name: str, scopes: Sequence[str], expires_at: int | None = None, *, account: str = OPERATOR
    ) -> TokenInfo:
        body = {"name": name, "scopes": list(scopes), "expires_at": expires_at, "account": account}
        return cast(TokenInfo, self._post("/tokens", body))

    def list_tokens(self) -> list[TokenInfo]:
        return cast(list[TokenInfo], self._get("/tokens"))

    def delete_token(self, token_id: int) -> None:
        self._delete(f"/tokens/{token_id}")

    def page_audit(
        self,
        *,
        action: str | None = None,
        subject: str | None = None,
        since: int | None = None,
        until: int | None = None,
        after: int = 0,
        limit: int = 100,
    ) -> Page[AuditInfo]:
        query = {"action": action, "subject": subject, "since": since, "until": until}
        return cast(Page[AuditInfo], self._get("/audit", **query, after=after, limit=limit))
