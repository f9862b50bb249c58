"""New boards for tests: furnished once, copied for each."""

from sim.board import Board, furnish, make_board
from sim.flash.layout import BoardLayout
from sim.flash.pages import MemoryPages


class BoardMaker:
    """Makes boards of one layout with a bootloader and an application, their flash in memory."""

    def __init__(self, layout: BoardLayout, app_version: str) -> None:
        self._layout = layout
        self._app_version = app_version
        self._pages: dict[str, MemoryPages] = {}

    def __call__(self) -> Board:
        if not self._pages:
            self._pages = {device.name: MemoryPages(device.size) for device in self._layout.devices}
            furnish(make_board(self._layout, dict(self._pages)), app_version=self._app_version)
        return make_board(self._layout, {name: pages.fork() for name, pages in self._pages.items()})
