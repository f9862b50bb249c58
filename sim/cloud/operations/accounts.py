"""Accounts, API tokens and the audit log (platform 1). Log-in and registration are in `cloud.sessions`."""

from collections.abc import Sequence

from sim.cloud.model import accounts, sessions, tokens
from sim.cloud.model import audit as log
from sim.cloud.model.passwords import PasswordHash, check_password_rules
from sim.cloud.model.work import Scope
from sim.cloud.operations.base import BaseOperations
from sim.cloud.shapes import OPERATOR, AccountInfo, AuditInfo, Page, TokenInfo


class AccountOperations(BaseOperations):
    def create_account(self, name: str, password: str) -> AccountInfo:
        """For the operator. Hashes in the calling thread; a server hashes first and calls `add_account`."""
        return self.add_account(name, PasswordHash.of(check_password_rules(name, password)))

    def add_account(self, name: str, password: PasswordHash) -> AccountInfo:
        with self._work(Scope.ACCOUNT) as work:
            work.caller.require_operator()
            return accounts.create_account(work, name, password)

    def account(self) -> AccountInfo | None:
        """The caller's own account; None for the operator, who is not one."""
        with self._work(Scope.READ) as work:
            own = work.caller.account
            return accounts.account_info(accounts.find_account(work, own)) if own is not None else None

    def list_accounts(self, name: str | None = None) -> list[AccountInfo]:
        """The caller's account, for the operator all; with a name only that one."""
        with self._work(Scope.READ) as work:
            return accounts.list_accounts(work, name)

    def show_account(self, account_id: int) -> AccountInfo:
        with self._work(Scope.READ) as work:
            return accounts.account_info(accounts.find_account(work, account_id))

    def set_account_enabled(self, account_id: int, enabled: bool) -> AccountInfo:
        """For the operator. Disabling ends the sessions, and refuses log-ins and tokens; devices go on."""
        with self._work(Scope.ACCOUNT) as work:
            account = accounts.find_account(work, account_id)
            work.caller.require_operator()
            accounts.set_enabled(work, account, enabled=enabled)
            if not enabled:
                sessions.close_sessions(work, account.id)
            return accounts.account_info(account)

    def set_password(self, account_id: int, password: str) -> AccountInfo:
        """For the operator. Hashes in the calling thread; ends the account's sessions."""
        check_password_rules(self.show_account(account_id)["name"], password)
        return self.replace_password(account_id, PasswordHash.of(password))

    def replace_password(self, account_id: int, password: PasswordHash) -> AccountInfo:
        with self._work(Scope.ACCOUNT) as work:
            account = accounts.find_account(work, account_id)
            work.caller.require_operator()
            accounts.set_password(work, account, password)
            sessions.close_sessions(work, account.id)
            return accounts.account_info(account)

    def create_token(
        self, name: str, scopes: Sequence[str], expires_at: int | None = None, *, account: str = OPERATOR
    ) -> TokenInfo:
        """The result holds the token, this once. Only the operator names an `account` other than its own."""
        with self._work(Scope.ACCOUNT) as work:
            return tokens.create_token(work, name, scopes, expires_at, account=account)

    def list_tokens(self) -> list[TokenInfo]:
        with self._work(Scope.ACCOUNT) as work:
            return tokens.list_tokens(work)

    def delete_token(self, token_id: int) -> None:
        with self._work(Scope.ACCOUNT) as work:
            tokens.delete_token(work, token_id)

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
        """Who did what, newest first; the operator sees everything, others what concerns their account."""
        with self._work(Scope.READ) as work:
            return log.page_audit(
                work, action=action, subject=subject, since=since, until=until, after=after, limit=limit
            )
