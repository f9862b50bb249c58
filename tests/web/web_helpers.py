"""What the tests of the web console share."""

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Page, expect

WEB = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}
PASSWORD = "correct horse battery"


@dataclass(frozen=True)
class Cloud:
    http_url: str
    mqtt_url: str
    log: Path


class Device:
    """A running `cloudsim device run`."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process

    def type(self, line: str) -> None:
        """On the board's serial console."""
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(20)
        if self._process.stdin is not None:
            self._process.stdin.close()


def wait_for(condition: Callable[[], object], timeout: float = 15.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "the condition does not come true"
        time.sleep(0.05)


def register(page: Page, name: str) -> None:
    page.goto("/register")
    page.get_by_label("User name").fill(name)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Create account").click()
    expect(page.get_by_role("heading", name="Dashboard")).to_be_visible()


def log_in(page: Page, name: str) -> None:
    page.goto("/login")
    page.get_by_label("User name").fill(name)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="Dashboard")).to_be_visible()


def create_product(page: Page, name: str) -> str:
    """Returns its ProductID."""
    page.goto("/products")
    page.get_by_role("button", name="Create product").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name *").fill(name)
    dialog.get_by_label("Type", exact=True).fill("smart home")
    dialog.get_by_label("Connection").fill("Wi-Fi")
    dialog.get_by_role("button", name="Create").click()
    expect(page.get_by_role("heading", name=name)).to_be_visible()
    return page.locator("[data-mark=product-id]").inner_text()


def add_device(page: Page, product_id: str, sn: str, name: str) -> None:
    """Leaves the page of the new device open."""
    page.goto(f"/products/{product_id}")
    page.get_by_role("button", name="Add device").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("SN *").fill(sn)
    dialog.get_by_label("Name").fill(name)
    dialog.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_role("heading", name=name)).to_be_visible()


def marked(page: Page, mark: str):  # type: ignore[no-untyped-def]
    return page.locator(f"[data-mark={mark}]")


def terminal_text(page: Page) -> str:
    return str(page.evaluate("document.querySelector('.xterm-rows').innerText"))
