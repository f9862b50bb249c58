"""A cloud with its console, a browser, and devices, each in a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from web_helpers import WEB, Cloud, Device, wait_for

CHROMIUM = "/usr/bin/chromium"
MAIN = [sys.executable, "-c", "from sim.cli.main import main; main()"]
START_TIMEOUT = 60.0  # seconds


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    folder = tmp_path_factory.mktemp("cloud")
    facts, log = folder / "facts.json", folder / "log.txt"
    command = [
        *MAIN,
        "cloud",
        "serve",
        "--data",
        str(folder / "data"),
        "--http-port",
        "0",
        "--mqtt-port",
        "0",
    ]
    with facts.open("w") as out, log.open("w") as err:
        process = subprocess.Popen([*command, "--json"], stdout=out, stderr=err)
    try:
        wait_for(lambda: process.poll() is not None or facts.read_text().endswith("\n"), START_TIMEOUT)
        assert process.poll() is None, log.read_text()
        yield Cloud(
            **{name: json.loads(facts.read_text())[name] for name in ("http_url", "mqtt_url")}, log=log
        )
    finally:
        process.terminate()
        assert process.wait(30) == 0, log.read_text()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Not for longer: while it runs, `asyncio.run` does not work in other tests of this process."""
    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        with playwright.chromium.launch(executable_path=CHROMIUM, args=options) as found:
            yield found


@pytest.fixture
def open_context(browser: Browser, cloud: Cloud) -> Iterator[Callable[..., BrowserContext]]:
    """Browsers that forget; whatever they ask of another origin, or complain about, fails the test."""
    contexts: list[BrowserContext] = []
    wrong: list[str] = []

    def watch(page: Page) -> None:
        own = (cloud.http_url + "/", cloud.http_url.replace("http", "ws", 1) + "/", "data:", "blob:")
        page.on("request", lambda request: None if request.url.startswith(own) else wrong.append(request.url))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on(
            "console",
            lambda message: (
                wrong.append(message.text)
                if message.type == "error" and "Failed to load resource" not in message.text
                else None
            ),
        )

    def make(**options: object) -> BrowserContext:
        made = browser.new_context(base_url=cloud.http_url, **{"viewport": WEB, "locale": "en-US", **options})
        made.set_default_timeout(15_000)
        made.on("page", watch)
        contexts.append(made)
        return made

    yield make
    for context in contexts:
        context.close()
    assert wrong == []


@pytest.fixture
def page(open_context: Callable[..., BrowserContext]) -> Page:
    return open_context().new_page()


@pytest.fixture
def picture(request: pytest.FixtureRequest) -> Callable[[Page, str], None]:
    """Keep a figure of the documentation, when asked to."""
    folder = Path(__file__).parent.parent.parent / "docs" / "images"

    def take(page: Page, name: str) -> None:
        if request.config.getoption("--screenshots"):
            folder.mkdir(exist_ok=True)
            page.screenshot(path=folder / f"{name}.png")

    return take


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """On failure, show where the browser was."""
    report = yield
    page = getattr(item, "funcargs", {}).get("page")
    if report.failed and page is not None and not page.is_closed():
        target = Path(os.environ.get("TMPDIR", "/tmp")) / f"{item.name}.png"
        page.screenshot(path=target)
        report.sections.append(("browser", f"{page.url}, {target}"))
    return report


@pytest.fixture
def run_device(cloud: Cloud, tmp_path: Path) -> Iterator[Callable[[str, str, str], Device]]:
    """Start `cloudsim device run` on a new board."""
    devices: list[Device] = []

    def run(sn: str, product_id: str, product_key: str) -> Device:
        board = tmp_path / sn
        subprocess.run([*MAIN, "board", "new", str(board)], check=True, capture_output=True)
        command = [*MAIN, "device", "run", str(board), "--sn", sn, "--product-id", product_id]
        urls = ["--activation-url", cloud.http_url, "--mqtt-url", cloud.mqtt_url]
        environment = {**os.environ, "CLOUDSIM_PRODUCT_KEY": product_key}
        process = subprocess.Popen(
            [*command, *urls],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        devices.append(Device(process))
        return devices[-1]

    yield run
    for device in devices:
        device.stop()
