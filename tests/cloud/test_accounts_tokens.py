"""API tokens, sessions in time, and the audit log (platform 1)."""

from collections.abc import Callable

import pytest
from conftest import Clock

from cloudsdk.errors import CloudSdkError
from sim.cloud.model import sessions, tokens
from sim.cloud.model.accounts import login_of
from sim.cloud.model.passwords import PasswordHash
from sim.cloud.model.tables import ApiToken, LoginSession
from sim.cloud.model.work import Caller, Scope, stranger
from sim.cloud.operations import Operations
from sim.cloud.service import Service

PASSWORD = "correct horse"


def code_of(call: Callable[[], object]) -> str:
    with pytest.raises(CloudSdkError) as error:
        call()
    return error.value.code


@pytest.fixture
def anna(service: Service) -> Operations:
    service.create_account("anna", PASSWORD)
    secret = service.create_token("first", list(Scope), account="anna")["token"]
    caller = caller_of_token(service, secret)
    assert caller is not None
    return service.acting_as(caller)


def caller_of_token(service: Service, secret: str) -> Caller | None:
    with service.core.work(stranger("192.0.2.1")) as work:
        return tokens.caller_of_token(work, secret)


def open_session(service: Service, name: str = "anna") -> str:
    with service.core.work(stranger("192.0.2.1")) as work:
        login = login_of(work, name)
        assert login is not None
        opened = sessions.open_session(work, login)
        assert opened is not None
        return opened[1]


def is_open(service: Service, token: str) -> bool:
    with service.core.work(stranger("192.0.2.1")) as work:
        return sessions.find_session(work, token) is not None


def test_token_is_shown_once_and_stored_as_a_hash(anna: Operations, service: Service) -> None:
    made = anna.create_token("ci", ["read", "tasks"])
    assert made["token"].startswith("cs_")
    assert len(made["token"]) > 40
    assert (made["account"], made["scopes"], made["expires_at"]) == ("anna", ["read", "tasks"], None)
    assert all("token" not in row for row in anna.list_tokens())
    with service.core.work(service.caller) as work:
        stored = [row.token_hash for row in work.session.query(ApiToken)]
    assert made["token"] not in stored
    caller = caller_of_token(service, made["token"])
    assert caller is not None
    assert caller.scopes == {Scope.READ, Scope.TASKS}
    assert code_of(lambda: service.acting_as(caller).create_product("x")) == "cloud.forbidden"


def test_token_cannot_make_one_that_may_more(anna: Operations, service: Service) -> None:
    caller = caller_of_token(service, anna.create_token("maker", ["account"])["token"])
    assert caller is not None
    maker = service.acting_as(caller)
    assert maker.create_token("child", ["account"])["scopes"] == ["account"]
    assert code_of(lambda: maker.create_token("greedy", ["account", "keys"])) == "cloud.forbidden"
    assert (
        code_of(lambda: maker.create_token("other", ["account"], account="operator"))
        == "cloud.unknown-account"
    )


def test_bad_tokens_are_refused(anna: Operations, clock: Clock) -> None:
    now = int(clock.now)
    assert code_of(lambda: anna.create_token("x", [])) == "cloud.bad-request"
    assert code_of(lambda: anna.create_token("x", ["all"])) == "cloud.bad-request"
    assert code_of(lambda: anna.create_token("", ["read"])) == "cloud.bad-request"
    assert code_of(lambda: anna.create_token("first", ["read"])) == "cloud.duplicate-token"
    for moment in (now, now - 1, 0, 10**12):
        assert code_of(lambda moment=moment: anna.create_token("x", ["read"], moment)) == "cloud.bad-request"  # type: ignore[misc]
    assert code_of(lambda: anna.delete_token(99)) == "cloud.unknown-token"


def test_number_of_tokens_is_bounded(anna: Operations) -> None:
    for number in range(tokens.TOKENS_PER_ACCOUNT - 1):
        anna.create_token(f"t{number}", ["read"])
    assert code_of(lambda: anna.create_token("more", ["read"])) == "cloud.limit-reached"


def test_token_ends_with_its_time_its_deletion_or_its_account(
    anna: Operations, service: Service, clock: Clock
) -> None:
    made = anna.create_token("short", ["read"], int(clock.now) + 10)
    other = anna.create_token("other", ["read"])
    clock.now += 9
    assert caller_of_token(service, made["token"]) is not None
    clock.now += 1
    assert caller_of_token(service, made["token"]) is None
    used = {row["name"]: row["last_used_at"] for row in anna.list_tokens()}
    assert used == {"first": int(clock.now) - 10, "short": int(clock.now) - 1, "other": None}
    [account] = service.list_accounts("anna")
    service.set_account_enabled(account["id"], False)
    assert caller_of_token(service, other["token"]) is None
    service.set_account_enabled(account["id"], True)
    assert caller_of_token(service, other["token"]) is not None
    anna.delete_token(other["id"])
    assert caller_of_token(service, other["token"]) is None


def test_session_ends_when_idle_and_in_any_case(anna: Operations, service: Service, clock: Clock) -> None:
    idle, used = open_session(service), open_session(service)
    end = clock.now + sessions.LONGEST
    while clock.now + sessions.IDLE // 2 < end:
        clock.now += sessions.IDLE // 2
        assert is_open(service, used)
    assert not is_open(service, idle)
    clock.now = end
    assert not is_open(service, used)


def test_sessions_are_bounded_and_stored_as_hashes(anna: Operations, service: Service) -> None:
    opened = [open_session(service) for _ in range(sessions.SESSIONS_PER_ACCOUNT + 2)]
    assert [is_open(service, token) for token in opened] == [False] * 2 + [
        True
    ] * sessions.SESSIONS_PER_ACCOUNT
    with service.core.work(service.caller) as work:
        stored = {row.token_hash for row in work.session.query(LoginSession)}
    assert len(stored) == sessions.SESSIONS_PER_ACCOUNT
    assert not stored & set(opened)


def test_session_does_not_begin_if_the_password_changed_meanwhile(anna: Operations, service: Service) -> None:
    with service.core.work(stranger("")) as work:
        login = login_of(work, "anna")
    assert login is not None
    [account] = service.list_accounts("anna")
    service.set_password(account["id"], "another password")
    with service.core.work(stranger("")) as work:
        assert sessions.open_session(work, login) is None
    assert PASSWORD not in repr(login)
    assert isinstance(login.password, PasswordHash)


def test_audit_says_who_from_where_and_only_to_whom_it_concerns(anna: Operations, service: Service) -> None:
    anna.create_product("lamp")
    service.create_product("other")
    device = service.add_device(anna.list_products()[0]["product_id"], "SN1")
    service.show_device("SN1", keys=True)
    own = anna.page_audit()["items"]
    assert [(row["actor"], row["address"], row["action"]) for row in own] == [
        ("operator", "", "device.show-key"),
        ("operator", "", "device.create"),
        ("anna (token first)", "192.0.2.1", "product.create"),
        ("operator", "", "token.create"),
        ("operator", "", "account.create"),
    ]
    assert own[0]["subject"] == device["device_id"]
    assert "other" in {row["detail"] for row in service.page_audit()["items"]}


def test_audit_is_filtered_and_paged(service: Service, clock: Clock) -> None:
    start = int(clock.now)
    for number in range(5):
        service.create_product(f"lamp{number}")
        clock.now += 10
    service.create_account("percent", PASSWORD)
    pages, after = [], 0
    while True:
        page = service.page_audit(action="product.", after=after, limit=2)
        pages.append([row["detail"] for row in page["items"]])
        if page["next"] is None:
            break
        after = page["next"]
    assert pages == [["lamp4", "lamp3"], ["lamp2", "lamp1"], ["lamp0"]]
    some = service.page_audit(action="product.", since=start + 10, until=start + 30)["items"]
    assert [row["detail"] for row in some] == ["lamp2", "lamp1"]
    assert service.page_audit(action="%")["items"] == []
    assert [row["action"] for row in service.page_audit(subject="percent")["items"]] == ["account.create"]
    for limit in (0, 1001):
        assert code_of(lambda limit=limit: service.page_audit(limit=limit)) == "cloud.bad-request"  # type: ignore[misc]
