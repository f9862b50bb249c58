"""Run cases one after another, each within its time."""

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from cloudsdk.errors import CloudSdkError
from sim.conformance.case import Case, NotRunError, OvertimeError, ViolationError, shown
from sim.conformance.results import Report, Result, Verdict
from sim.conformance.scope import Scope

CASE_TIMEOUT: Final = 30.0  # seconds
_GRACE: Final = 3.0  # seconds to end after the time is over
_INTERRUPTED: Final = "interrupted"

_log = logging.getLogger(__name__)
Bench = TypeVar("Bench")


@dataclass(frozen=True, slots=True)
class Plan:
    """`abilities` are what the subject offers, `xfails` maps case ids to the reasons of expected failures,
    `timeout` is seconds per case."""

    suite: str
    subject: str
    abilities: Collection[str] = ()
    xfails: Mapping[str, str] | None = None
    timeout: float = CASE_TIMEOUT


@dataclass(slots=True)
class _Found:
    verdict: Verdict = Verdict.ERROR
    detail: str = "the case did not end within its time"
    wanted: str = ""
    seen: str = ""


def run_cases(
    cases: Sequence[Case[Bench]],
    bench: Callable[[Scope], Bench],
    plan: Plan,
    on_result: Callable[[Result], None] | None = None,
) -> Report:
    """Run the cases, each on a new `bench`. Ctrl-C ends the run; the report says what was not tried."""
    start = time.monotonic()
    results: list[Result] = []
    interrupted = False
    for case in cases:
        began = time.monotonic()
        found = _Found(Verdict.NOT_RUN, _INTERRUPTED)
        if not interrupted:
            try:
                found = _run(case, bench, plan)
            except KeyboardInterrupt:
                interrupted = True
        result = _result(case, found, plan.xfails or {}, time.monotonic() - began)
        results.append(result)
        if on_result is not None:
            on_result(result)
    return Report(plan.suite, plan.subject, tuple(results), time.monotonic() - start, interrupted)


def _run(case: Case[Bench], bench: Callable[[Scope], Bench], plan: Plan) -> _Found:
    missing = [name for name in case.needs if name not in plan.abilities]
    if missing:
        return _Found(Verdict.NOT_RUN, f"needs {', '.join(missing)}")
    found = _Found()
    scope = Scope(plan.timeout)
    # A thread, so that a hook that hangs cannot stop the run.
    worker = threading.Thread(target=_carry_out, args=(case, bench, scope, found), daemon=True)
    worker.start()
    try:
        worker.join(plan.timeout + _GRACE)
    finally:
        scope.close()
    worker.join(_GRACE)
    return _Found() if worker.is_alive() else found


def _carry_out(case: Case[Bench], bench: Callable[[Scope], Bench], scope: Scope, found: _Found) -> None:
    try:
        case.run(bench(scope))
        found.verdict, found.detail = Verdict.PASS, ""
    except ViolationError as exc:
        found.verdict, found.detail = Verdict.FAIL, str(exc)
        found.wanted, found.seen = exc.wanted, exc.seen
    except NotRunError as exc:
        found.verdict, found.detail = Verdict.NOT_RUN, str(exc)
    except OvertimeError as exc:
        found.verdict, found.detail = Verdict.FAIL, str(exc)
    except (OSError, CloudSdkError) as exc:
        found.detail = shown(str(exc) or type(exc).__name__)
    except Exception as exc:
        _log.debug("case %s", case.id, exc_info=True)
        found.detail = shown(f"{type(exc).__name__}: {exc}")
    finally:
        scope.close()


def _result(case: Case[Bench], found: _Found, xfails: Mapping[str, str], seconds: float) -> Result:
    verdict, detail = found.verdict, found.detail
    if case.id in xfails:
        if verdict is Verdict.FAIL:
            verdict, detail = Verdict.XFAIL, f"{xfails[case.id]}; {detail}"
        elif verdict is Verdict.PASS:
            verdict, detail = Verdict.XPASS, f"expected to fail: {xfails[case.id]}"
    return Result(
        case.id, case.title, case.source, case.severity, verdict, detail, found.wanted, found.seen, seconds
    )
