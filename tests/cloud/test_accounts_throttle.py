"""Pauses after failed log-ins: the arithmetic, and what a server does with it."""

import asyncio
import threading
import time
from collections.abc import Iterator

import pytest

from sim.cloud import sessions as module
from sim.cloud.errors import BadLoginError, TooManyRequestsError
from sim.cloud.model.passwords import COST, DECOY, Cost, PasswordHash
from sim.cloud.model.tables import Account
from sim.cloud.model.work import OPERATOR_CALLER
from sim.cloud.server import CloudServer
from sim.cloud.service import Service
from sim.cloud.sessions import Sessions
from sim.cloud.throttle import Throttle, ThrottleLimits, site
from sim.cloud.worker import Worker

PASSWORD = "correct horse"
LIMITS = ThrottleLimits(free=2, first_pause=1, longest_pause=10, forget=100, keys=3)


def test_pauses_double_up_to_the_longest() -> None:
    throttle, now, pauses = Throttle(LIMITS), 0.0, []
    for _ in range(8):
        assert throttle.pause("a", now) == 0
        pauses.append(throttle.attempt("a", now))
        now += pauses[-1]
    assert pauses == [0, 0, 1, 2, 4, 8, 10, 10]
    assert throttle.pause("b", now) == 0


def test_many_failures_do_not_overflow() -> None:
    throttle = Throttle(LIMITS)
    for _ in range(5000):
        throttle.attempt("a", 0)
    assert throttle.pause("a", 0) == 10


def test_success_and_time_forget_failures() -> None:
    throttle = Throttle(LIMITS)
    for _ in range(4):
        throttle.attempt("a", 0)
    throttle.succeeded("a")
    assert throttle.attempt("a", 0) == 0
    for _ in range(4):
        throttle.attempt("a", 0)
    assert throttle.attempt("a", 101) == 0


def test_success_of_one_account_does_not_clear_its_address() -> None:
    throttle = Throttle(LIMITS)
    for _ in range(3):
        throttle.attempt("address", 0)
    throttle.take_back("address")
    assert throttle.attempt("address", 0) > 0


def test_memory_is_bounded_and_keeps_who_tried_last() -> None:
    throttle = Throttle(LIMITS)
    for name in ("a", "b", "c", "a", "d"):
        for _ in range(4):
            throttle.attempt(name, 0)
    assert [throttle.pause(name, 0) > 0 for name in "abcd"] == [True, False, True, True]


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("", ""),
    ],
)
def test_an_ipv6_customer_counts_once(address: str, expected: str) -> None:
    assert site(address) == expected


class Gate:
    """`Sessions` on a service, with a clock of its own."""

    def __init__(self, service: Service) -> None:
        self.now = 0.0
        self.worker = Worker(service.core.store)
        self.sessions = Sessions(service.core, self.worker, monotonic=lambda: self.now)

    def log_in(self, name: str, password: str, address: str = "192.0.2.1") -> str:
        """`in`, `wrong`, or the seconds to wait."""
        try:
            asyncio.run(self.sessions.log_in(name, password, address))
        except BadLoginError:
            return "wrong"
        except TooManyRequestsError as error:
            return f"{error.retry_after:.0f}"
        return "in"

    def close(self) -> None:
        self.sessions.close()
        self.worker.close()


@pytest.fixture
def gate(service: Service) -> Iterator[Gate]:
    found = Gate(service)
    asyncio.run(found.worker.run(service.create_account, "anna", PASSWORD))
    yield found
    found.close()


def test_right_password_does_not_get_in_during_the_pause(gate: Gate) -> None:
    assert [gate.log_in("anna", "wrong password") for _ in range(7)] == ["wrong"] * 6 + ["1"]
    assert gate.log_in("anna", PASSWORD, "198.51.100.9") == "1"
    gate.now += 1
    assert gate.log_in("anna", PASSWORD) == "in"
    assert gate.log_in("anna", "wrong password") == "wrong"  # all is forgotten


def test_one_address_cannot_try_one_password_on_many_accounts(gate: Gate) -> None:
    answers = [gate.log_in(f"name{number}", PASSWORD) for number in range(33)]
    assert answers.index("1") == module.ADDRESS_LIMITS.free + 1
    assert gate.log_in("anna", PASSWORD) == "1"
    assert gate.log_in("anna", PASSWORD, "192.0.2.2") == "in"


def test_refusals_and_pauses_are_audited_without_what_was_typed(gate: Gate, service: Service) -> None:
    for _ in range(7):
        gate.log_in("anna", "typed secret")
    gate.log_in("typed secret", PASSWORD)
    gate.log_in("typedsecret", PASSWORD)
    entries = service.page_audit(action="account.login")["items"]
    assert {(entry["subject"], entry["detail"], entry["address"], entry["actor"]) for entry in entries} == {
        ("anna", "", "192.0.2.1", ""),
        ("anna", "pause of 1 s", "192.0.2.1", ""),
        ("?", "", "192.0.2.1", ""),
    }


def test_unknown_name_costs_as_much_work_as_a_known_one(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    checked = []
    fits = PasswordHash.fits
    monkeypatch.setattr(
        PasswordHash, "fits", lambda self, text: (checked.append(self.cost), fits(self, text))[1]
    )
    for name in ("anna", "nobody", "not a name"):
        assert gate.log_in(name, "wrong password") == "wrong"
    assert checked == [COST] * 3
    assert not DECOY.fits("")


def test_passwords_are_checked_a_few_at_a_time_and_never_in_the_database_thread(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = set()
    release = threading.Event()

    def slow(_self: PasswordHash, _password: str) -> bool:
        threads.add(threading.current_thread().name)
        release.wait(10)
        return False

    monkeypatch.setattr(PasswordHash, "fits", slow)

    async def flood() -> list[BaseException | object]:
        attempts = [
            asyncio.create_task(gate.sessions.log_in(f"name{number}", PASSWORD, f"192.0.2.{number}"))
            for number in range(module.MAX_WAITING + 5)
        ]
        done, _ = await asyncio.wait(attempts, return_when=asyncio.FIRST_COMPLETED)
        assert all(isinstance(task.exception(), TooManyRequestsError) for task in done)
        # Meanwhile the thread of the database is free.
        assert await asyncio.wait_for(gate.worker.run(lambda: "served"), 5) == "served"
        release.set()
        return await asyncio.gather(*attempts, return_exceptions=True)

    answers = asyncio.run(flood())
    assert sum(isinstance(answer, TooManyRequestsError) for answer in answers) == 5
    assert sum(isinstance(answer, BadLoginError) for answer in answers) == module.MAX_WAITING
    assert len(threads) == module.HASH_THREADS
    assert all(name.startswith("cloud-password") for name in threads)


def test_hash_of_earlier_parameters_is_renewed_at_log_in(gate: Gate, service: Service) -> None:
    def stored(change: bytes | None = None) -> str | None:
        with service.core.work(OPERATOR_CALLER) as work:
            account = work.session.query(Account).filter_by(name="anna").one()
            if change is not None:
                old = PasswordHash.of(PASSWORD, Cost(10, 8, 1))
                account.salt, account.password_hash, account.password_cost = old.salt, old.digest, "10:8:1"
            return account.password_cost

    def run(change: bytes | None = None) -> str | None:
        return asyncio.run(gate.worker.run(stored, change))

    run(b"")
    assert gate.log_in("anna", PASSWORD) == "in"
    assert run() == str(COST)
    assert gate.log_in("anna", PASSWORD) == "in"


def test_server_says_when_to_try_again(server: CloudServer) -> None:
    import requests

    url = server.http_url + "/api/v1/session"
    body = {"name": "somebody", "password": "wrong password"}
    deadline = time.monotonic() + 10
    while (response := requests.post(url, json=body, timeout=10)).status_code == 401:
        assert time.monotonic() < deadline
    assert (response.status_code, response.json()["code"]) == (429, "cloud.too-many-requests")
    assert int(response.headers["Retry-After"]) >= 1
