"""Mistakes in the SDK: the real session and download with one wrong step, on the real path."""

from collections.abc import Callable
from functools import partial
from typing import Final

from cloudsdk.ota.download import Download
from cloudsdk.ota.header import HEADER_SIZE
from cloudsdk.ota.journal import Identity
from cloudsdk.ota.task import TaskFirmware
from cloudsdk.session import Session
from sim.faults.powercut.corpus.board import LAYOUT, TRUSTING, app_package, board_pages, filesystem_package
from sim.faults.powercut.corpus.defect import Defect
from sim.faults.powercut.model import Verdict
from sim.faults.powercut.upgrade import Upgrade


class _VersionFirst(Session):
    def _begin_download(self, firmware: TaskFirmware) -> None:
        self._store_result(firmware)
        super()._begin_download(firmware)


class _ForgetsCompleteSet(Session):
    def _set_is_complete(self, version: str) -> bool:
        return True


class _BySize(Download):
    def _current_identity(self) -> Identity:
        return Identity(self._context.device_id, "", "", self.firmware.file_size)

    def _take_up_journal(self, identity: Identity) -> None:
        super()._take_up_journal(identity)
        if self._journal is not None and self._offset and self._offset + self._journal.step >= self._total:
            self._offset = self._total


def _subject(make_session: Callable[..., Session], planted: bool, *, packages: int = 1) -> Upgrade:
    app = app_package()
    task = [app, filesystem_package(len(app) - HEADER_SIZE)][:packages]
    chosen = make_session if planted else Session
    return Upgrade(LAYOUT, board_pages(), task, profile=TRUSTING, make_session=chosen)


_WHERE: Final = "CloudSDK"

DEFECTS: Final = (
    Defect(
        name="version-before-download",
        mistake="the task's version is stored when its last download begins, not when it is verified",
        where=_WHERE,
        expected=frozenset({Verdict.SILENT_CORRUPTION}),
        subject=partial(_subject, _VersionFirst),
    ),
    Defect(
        name="complete-set-not-stored",
        mistake="the task's version is stored after a download only, not when everything is found installed",
        where=_WHERE,
        expected=frozenset({Verdict.WRONG_IMAGE}),
        subject=partial(_subject, _ForgetsCompleteSet),
    ),
    Defect(
        name="break-point-by-size",
        mistake="a break point is taken for that of any package of its size, a complete one without asking",
        where=_WHERE,
        expected=frozenset({Verdict.SILENT_CORRUPTION}),
        subject=partial(_subject, partial(Session, make_download=_BySize), packages=2),
    ),
)
