"""The console's pages in a browser: who sees what, languages, phones, keyboards, hostile text."""

import contextlib
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from playwright.sync_api import Browser, BrowserContext, Page, StorageState, expect
from playwright.sync_api import Error as PlaywrightError
from web_helpers import PASSWORD, PHONE, Cloud, add_device, create_product, marked, register

from cloudsdk.ota.pack import pack
from sim.cloud.shapes import OnlinePoint
from sim.cloud.web.pages.dashboard import with_seen

HOSTILE = "<img src=x onerror=document.title='gotcha'>{{ 6*7 }}"
PATHS = (
    "/",
    "/products",
    "/fleet",
    "/firmware",
    "/firmware/pack",
    "/tasks",
    "/tasks/new",
    "/audit",
    "/account",
)


@pytest.fixture(scope="module")
def names() -> Callable[[], str]:
    """Account names that nobody has yet."""
    numbers = iter(range(1000))
    return lambda: f"reader{next(numbers)}"


@pytest.fixture(scope="module")
def reader(browser: Browser, cloud: Cloud, names: Callable[[], str]) -> StorageState:
    """The cookies of somebody who has logged in; the cloud lets an address register a few accounts only."""
    with browser.new_context(base_url=cloud.http_url, locale="en-US") as context:
        register(context.new_page(), names())
        return context.storage_state()


@pytest.fixture
def page(open_context: Callable[..., BrowserContext], reader: StorageState) -> Page:
    return open_context(storage_state=reader).new_page()


def status(url: str, **headers: str) -> int:
    return requests.get(url, headers=headers, allow_redirects=False, timeout=30).status_code


def test_a_stranger_gets_the_login_and_comes_back_to_the_page_he_wanted(
    open_context: Callable[..., BrowserContext], names: Callable[[], str]
) -> None:
    page, name = open_context().new_page(), names()
    register(page, name)
    page.get_by_role("button", name="Account").click()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    page.goto("/tasks")
    assert "/login" in page.url
    page.get_by_label("User name").fill(name)
    page.get_by_label("Password", exact=True).fill("wrong password")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("User name or password is wrong.")
    page.get_by_label("User name").fill(name)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="OTA tasks")).to_be_visible()
    cookie = next(each for each in page.context.cookies() if each["name"] == "cloudsim_session")
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Strict"


def test_pages_are_closed_and_nothing_else_is_there(cloud: Cloud) -> None:
    for path in (*PATHS, "/fleet/0123456789abcdef", "/fleet/0123456789abcdef/shell"):
        assert status(cloud.http_url + path) == 303, path
    assert status(cloud.http_url + "/login") == 200
    for path in ("/nothing", "/console/../console.py", "/_nicegui/client/x/upload/1", "/favicon.txt"):
        assert status(cloud.http_url + path) == 404, path


def test_pages_carry_a_policy_that_keeps_them_to_this_origin(page: Page) -> None:
    answer = page.goto("/login")
    assert answer is not None
    policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "http" not in policy


def test_a_session_that_ended_leaves_an_open_page_powerless(
    open_context: Callable[..., BrowserContext], names: Callable[[], str]
) -> None:
    name = names()
    mine, other = open_context().new_page(), open_context().new_page()
    register(mine, name)
    other.goto("/login?next=%2Fproducts")
    other.get_by_label("User name").fill(name)
    other.get_by_label("Password", exact=True).fill(PASSWORD)
    other.keyboard.press("Enter")
    expect(other.get_by_role("heading", name="Products")).to_be_visible()
    mine.goto("/account")
    mine.get_by_role("button", name="Change password").click()
    mine.get_by_label("Present password").fill(PASSWORD)
    mine.get_by_label("New password").fill(PASSWORD + "!")
    mine.get_by_role("button", name="Save").click()
    expect(mine.get_by_text("Saved")).to_be_visible()
    other.get_by_role("button", name="Create product").click()
    other.get_by_label("Name *").fill("late")
    other.get_by_role("button", name="Create", exact=True).click()
    expect(other.get_by_role("dialog").get_by_role("alert")).to_contain_text("log in again")


def test_what_others_have_does_not_exist(
    open_context: Callable[..., BrowserContext], names: Callable[[], str]
) -> None:
    mine, other = open_context().new_page(), open_context().new_page()
    register(mine, names())
    product_id = create_product(mine, "private")
    register(other, names())
    answer = other.goto(f"/products/{product_id}")
    assert answer is not None
    assert answer.status == 404
    expect(other.get_by_text("Unknown product")).to_be_visible()
    other.goto("/products")
    expect(other.get_by_text("There are no such products.")).to_be_visible()


def test_hostile_text_is_shown_as_text(page: Page) -> None:
    product_id = create_product(page, HOSTILE)
    add_device(page, product_id, "SN<b>1", f"device {HOSTILE}")
    for path in ("/products", "/fleet", "/audit", f"/products/{product_id}"):
        page.goto(path)
        expect(page.get_by_text(HOSTILE).or_(page.get_by_text("SN<b>1")).first).to_be_visible()
    assert "gotcha" not in page.title()


def test_a_table_of_devices_is_taken_whole_or_refused_row_by_row(page: Page) -> None:
    product_id = create_product(page, "fleet")
    page.get_by_role("button", name="Add many").click()
    table = page.locator("input[type=file]")
    bad = b"sn,name\nSN1,a\nSN1,b\n,c\n"
    table.set_input_files({"name": "../../x.csv", "mimeType": "text/csv", "buffer": bad})
    expect(page.get_by_text(re.compile("^Row 3"))).to_be_visible()
    rows = "".join(f"SN{number:03d},Room {number}\n" for number in range(120)).encode()
    table.set_input_files({"name": "x.csv", "mimeType": "text/csv", "buffer": b"sn,name\n" + rows})
    expect(page.get_by_text("120 devices, 0 online")).to_be_visible()
    assert product_id in page.url
    expect(page.get_by_role("link", name="SN049")).to_be_visible()
    page.get_by_role("button", name="Next page").click()
    expect(page.get_by_role("link", name="SN050")).to_be_visible()
    page.get_by_label("SN, name or DeviceID").fill("Room 119")
    expect(page.get_by_role("link", name="SN119")).to_be_visible()
    expect(page.get_by_role("link", name="SN050")).to_have_count(0)


def test_the_code_of_a_device_leads_to_its_binding(page: Page) -> None:
    product_id = create_product(page, "lamp")
    add_device(page, product_id, "LAMP 7", "Lamp")
    with contextlib.suppress(PlaywrightError):  # the page of the new device may still be on its way
        page.goto("/m/#/login?sn=LAMP%207")
    if not page.url.endswith("/m/#/login?sn=LAMP%207"):
        page.goto("/m/#/login?sn=LAMP%207")
    expect(page.get_by_label("SN")).to_have_value("LAMP 7")
    page.get_by_role("button", name="Find the device").click()
    expect(page.get_by_role("img", name=re.compile("QR code of http.*sn=LAMP%207"))).to_be_visible()
    page.get_by_role("button", name="Open the window").click()
    expect(marked(page, "binding-state")).to_contain_text("Open until")
    page.get_by_role("button", name="Close the window").click()
    expect(marked(page, "binding-state")).to_have_text("Closed")


def test_language_and_colours_are_kept(page: Page) -> None:
    page.goto("/")
    page.get_by_role("button", name="Switch to Chinese").click()
    expect(page.get_by_role("heading", name="概览")).to_be_visible()
    assert page.locator("html").get_attribute("lang") == "zh-CN"
    page.get_by_role("button", name=re.compile("配色")).click()
    page.get_by_role("button", name=re.compile("配色")).click()
    expect(page.locator("body.body--dark")).to_have_count(1)
    page.goto("/products")
    expect(page.get_by_role("heading", name="产品")).to_be_visible()
    expect(page.locator("body.body--dark")).to_have_count(1)


def test_a_phone_scrolls_in_one_direction(
    open_context: Callable[..., BrowserContext], names: Callable[[], str]
) -> None:
    page = open_context(viewport=PHONE, locale="zh-CN", color_scheme="dark").new_page()
    page.goto("/register")
    page.locator("input[name=name]").fill(names())
    page.locator("input[name=password]").fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="概览")).to_be_visible()
    for path in PATHS:
        page.goto(path)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], path
    page.get_by_role("button", name="菜单").click()
    page.get_by_role("link", name="设备").click()
    expect(page.get_by_role("heading", name="设备")).to_be_visible()


def test_keys_are_enough(page: Page) -> None:
    page.goto("/products")
    expect(page.get_by_role("heading", name="Products")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Create product").focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    page.keyboard.press("Enter")
    page.get_by_label("Name *").fill("by keys")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="by keys")).to_be_visible()


def test_the_dashboard_draws_devices_that_have_just_been_added(page: Page) -> None:
    page.goto("/")
    add_device(page, create_product(page, "charted"), "NEW1", "Lamp")
    page.goto("/")
    expect(page.locator(".chart").first).to_be_visible()


def test_seen_counts_follow_the_samples() -> None:
    def points(*times: int) -> list[OnlinePoint]:
        return [OnlinePoint(at=at, online=1, activated=1) for at in times]

    assert with_seen(points(60, 120), points(115, 120, 125)) == points(60, 120, 125)
    assert with_seen([], points(5, 10)) == points(5, 10)


def test_firmware_is_put_in_order_by_dragging(page: Page, tmp_path: Path) -> None:
    page.goto("/")
    product_id = create_product(page, "dragged")
    page.goto(f"/firmware?product={product_id}")
    for name in ("app", "filesystem", "wifi"):
        package = tmp_path / f"{name}.rbl"
        package.write_bytes(pack(bytes(64), name=name, version="1.0.0", timestamp=0))
        page.locator("input[type=file]").set_input_files(package)
        expect(page.get_by_role("link", name=name)).to_be_visible()
    page.goto(f"/tasks/new?product={product_id}")
    page.get_by_role("button", name="Next").click()
    for name in ("app", "filesystem", "wifi"):
        page.get_by_label("Add firmware").click()
        page.get_by_role("option", name=name).click()
    order = marked(page, "order").locator(".order-name")
    grips = marked(page, "order").locator(".order-grip")
    expect(order).to_have_count(3)
    grips.nth(2).drag_to(grips.nth(0))
    expect(order).to_have_text(["wifi 1.0.0", "app 1.0.0", "filesystem 1.0.0"])
    page.get_by_role("button", name="Later").nth(0).click()
    expect(order).to_have_text(["app 1.0.0", "wifi 1.0.0", "filesystem 1.0.0"])
    grips.nth(0).drag_to(grips.nth(2))
    expect(order).to_have_text(["wifi 1.0.0", "filesystem 1.0.0", "app 1.0.0"])
    for _ in range(3):
        page.get_by_role("button", name="Next").click()
    expect(page.get_by_text("wifi 1.0.0, filesystem 1.0.0, app 1.0.0")).to_be_visible()


def test_an_api_token_is_shown_once(page: Page, cloud: Cloud) -> None:
    page.goto("/account")
    page.get_by_role("button", name="Create token").click()
    page.get_by_label("Name *").fill("ci")
    page.get_by_role("button", name="Create", exact=True).click()
    token = marked(page, "token").inner_text()
    authorization = f"Bearer {token}"
    assert status(cloud.http_url + "/api/v1/products", Authorization=authorization) == 200
    page.get_by_role("button", name="Close").click()
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("There are no tokens.")).to_be_visible()
    assert status(cloud.http_url + "/api/v1/products", Authorization=authorization) == 401


def test_the_log_of_the_cloud_has_no_secret(cloud: Cloud) -> None:
    text = cloud.log.read_text()
    assert PASSWORD not in text
    assert "Traceback" not in text
