"""The application and its runtime where flash or the session let them down."""

import threading
from typing import cast

import pytest
from device_rig import IOT_BOARD, TestPort, fork, make_pages

from cloudsdk import events as ev
from cloudsdk.client import CloudClient, Exit
from cloudsdk.errors import FlashError
from cloudsdk.limits import Limits
from cloudsdk.profile import MANUAL
from cloudsdk.session import Session
from sim.application import Application
from sim.board import Board, make_board
from sim.bootloader.outcome import BootOutcome
from sim.flash.power import CutMoment, FlashOperation, PowerCut

PAGES = make_pages(IOT_BOARD)


def make(*, blank_env: bool = False) -> Board:
    board = make_board(IOT_BOARD, dict(fork(PAGES)))
    if blank_env:
        env = board.partition("easyflash")
        env.erase(0, env.size)
    return board


def worn_out(_index: int, _operation: FlashOperation) -> CutMoment | None:
    raise FlashError("worn out")


def test_board_goes_on_without_env() -> None:
    board = make(blank_env=True)
    console: list[str] = []
    board.power.arm(worn_out)
    application = Application(board, TestPort(), profile=MANUAL, limits=Limits(), write=console.append)
    application.start()
    assert "[Flash] EasyFlash V3.2.1 is initialize fail.\n" in console
    effects = application.session.handle(ev.Started())
    assert any(isinstance(effect, ev.HttpRequest) for effect in effects)


def test_first_block_that_cannot_be_erased_does_not_stop_the_boot() -> None:
    board = make()
    board.power.arm(worn_out)
    assert board.boot(lambda _text: None).outcome is BootOutcome.JUMP


class StubSession:
    """Answers each event with what `effects` holds next."""

    def __init__(self, *effects: list[ev.Effect] | BaseException) -> None:
        self._effects = list(effects)
        self.seen: list[ev.Event] = []
        self.unfinished: list[ev.Effect] = [ev.ConsoleText("last words")]

    def handle(self, event: ev.Event) -> list[ev.Effect]:
        self.seen.append(event)
        effects = self._effects.pop(0)
        if isinstance(effects, BaseException):
            raise effects
        return effects


def client(session: StubSession, console: list[str]) -> CloudClient:
    return CloudClient(cast(Session, session), profile=MANUAL, limits=Limits(), console=console.append)


@pytest.mark.parametrize(("effect", "wanted"), [(ev.Reset(), Exit.RESET), (ev.GiveUp(), Exit.GAVE_UP)])
def test_run_ends_with_the_session(effect: ev.Effect, wanted: Exit) -> None:
    console: list[str] = []
    assert client(StubSession([ev.ConsoleText("bye"), effect]), console).run() is wanted
    assert console == ["bye"]


def test_timers_fire_in_order_of_time_unless_stopped() -> None:
    session = StubSession(
        [
            ev.StartTimer("late", 0.03),
            ev.StartTimer("stopped", 0.01),
            ev.StartTimer("early", 0.5),
            ev.StopTimer("stopped"),
            ev.StartTimer("early", 0.001),
        ],
        [],
        [ev.Reset()],
    )
    assert client(session, []).run() is Exit.RESET
    assert session.seen == [ev.Started(), ev.TimerFired("early"), ev.TimerFired("late")]


def test_stop_from_another_thread() -> None:
    runtime = client(StubSession([]), [])
    ended: list[Exit] = []
    thread = threading.Thread(target=lambda: ended.append(runtime.run()))
    thread.start()
    runtime.stop()
    thread.join(10)
    assert ended == [Exit.STOPPED]


def test_loss_of_power_passes_through_and_what_was_printed_before_is_shown() -> None:
    cut = PowerCut(FlashOperation("nor_flash", "write", 0, 1), CutMoment.BEFORE)
    console: list[str] = []
    with pytest.raises(PowerCut):
        client(StubSession(cut), console).run()
    assert console == ["last words"]
