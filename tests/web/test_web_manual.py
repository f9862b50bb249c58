"""The way of the original platform's manual, figure by figure, in a browser and with a real device."""

from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page, expect
from web_helpers import Device, add_device, create_product, log_in, marked, register, terminal_text, wait_for

from cloudsdk.ota.header import Compression
from cloudsdk.ota.keys import PackageKeys
from cloudsdk.ota.pack import pack
from flash_images import samples
from sim.flash.layout import load_board

SN = "SN0001"
UPGRADE_TIMEOUT = 60_000  # milliseconds for two downloads, installations and restarts


def test_the_manual_from_registration_to_a_finished_upgrade(
    page: Page,
    run_device: Callable[[str, str, str], Device],
    picture: Callable[[Page, str], None],
    tmp_path: Path,
) -> None:
    # 1: an account
    register(page, "engineer")
    expect(page.get_by_text("First steps")).to_be_visible()

    # 2: a product, whose key shows only on request
    product_id = create_product(page, "thermostat")
    expect(page.get_by_text("First steps")).to_be_visible()
    secret = marked(page, "secret")
    expect(secret).to_have_text("••••••••••••")
    picture(page, "product")
    page.get_by_role("button", name="Show or hide").click()
    expect(secret).not_to_have_text("••••••••••••")
    product_key = secret.inner_text()
    assert len(product_key) == 36

    # 3: a device; 4: its first power-up activates it
    add_device(page, product_id, SN, "Living room")
    expect(marked(page, "live-state")).to_have_text("inactive")
    device = run_device(SN, product_id, product_key)
    expect(marked(page, "live-online")).to_have_text("online", timeout=30_000)
    expect(marked(page, "live-state")).to_have_text("activated")
    device_url = page.url

    # 6: the log
    page.get_by_role("tab", name="Log").click()
    page.get_by_role("switch", name="Web Log").click()
    expect(marked(page, "log-state")).to_have_text("on", timeout=20_000)
    device.type("version")
    expect(marked(page, "log-live")).to_contain_text("- RT -     Thread Operating System")
    picture(page, "device-log")
    page.get_by_role("button", name="Stored").click()
    page.get_by_label("Text").fill("thread operating")
    expect(page.get_by_role("cell", name="Thread Operating System")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").click()
    assert "Thread Operating System" in download.value.path().read_text()
    page.get_by_role("switch", name="Web Log").click()
    expect(marked(page, "log-state")).to_have_text("off", timeout=20_000)

    # 5: the shell
    page.get_by_role("link", name="Shell").click()
    expect(marked(page, "shell-state")).to_have_text("Connected", timeout=30_000)
    wait_for(lambda: "msh />" in terminal_text(page))
    page.keyboard.type("pss")
    page.keyboard.press("Backspace")
    page.keyboard.press("Enter")
    wait_for(lambda: "max used left tick" in terminal_text(page))
    assert "msh />ps" in [line.strip() for line in terminal_text(page).splitlines()]
    picture(page, "shell")
    page.get_by_role("button", name="Close").click()
    expect(marked(page, "shell-state")).to_have_text("The session has ended.")

    # who logs out elsewhere leaves no shell behind
    page.get_by_role("button", name="Open again").click()
    expect(marked(page, "shell-state")).to_have_text("Connected", timeout=30_000)
    page.request.post("/logout")
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    log_in(page, "engineer")

    # 7: a package; 8: firmware in the cloud
    board, keys = load_board("iot-board"), PackageKeys()
    raw = tmp_path / "app.bin"
    raw.write_bytes(samples.application("2.0.0", link_address=board.app.link_address, size=20_000))
    page.goto("/firmware/pack")
    marked(page, "pack-file").set_input_files(raw)
    page.get_by_label("Firmware name").fill("app")
    page.get_by_label("Version").fill("2.0.0")
    page.get_by_label("Encryption").click()
    page.get_by_role("option", name="AES256").click()
    page.get_by_label("AES key").fill(keys.key.decode())
    page.get_by_label("AES IV").fill(keys.iv.decode())
    page.get_by_label("Add to the firmware of").click()
    page.get_by_role("option", name="thermostat").click()
    page.get_by_role("button", name="Pack", exact=True).click()
    expect(page.get_by_text("HDR_CRC32")).to_be_visible()
    page.get_by_text("HDR_CRC32").scroll_into_view_if_needed()
    picture(page, "packager")

    package = tmp_path / "filesystem.rbl"
    image = samples.filesystem("1.0.0", size=32_768)
    compression = Compression.QUICKLZ
    package.write_bytes(
        pack(image, name="filesystem", version="1.0.0", timestamp=1546300800, compression=compression)
    )
    page.goto(f"/firmware?product={product_id}")
    upload = page.locator("input[type=file]")
    wrong = tmp_path / "wrong.rbl"
    wrong.write_bytes(raw.read_bytes())
    upload.set_input_files(wrong)
    expect(marked(page, "refusal")).to_contain_text("Package refused")
    upload.set_input_files(package)
    expect(page.get_by_role("link", name="filesystem")).to_be_visible()
    expect(page.get_by_role("link", name="app")).to_be_visible()
    picture(page, "firmware")

    # 9: a task with two firmwares in order
    page.goto(f"/tasks/new?product={product_id}")
    page.get_by_role("button", name="Next").click()
    for name in ("filesystem 1.0.0", "app 2.0.0"):
        page.get_by_label("Add firmware").click()
        page.get_by_role("option", name=name).click()
    page.get_by_role("button", name="Earlier").nth(1).click()
    order = marked(page, "order").locator(".order-name")
    expect(order).to_have_text(["app 2.0.0", "filesystem 1.0.0"])
    picture(page, "task-wizard")
    for _ in range(3):
        page.get_by_role("button", name="Next").click()
    page.get_by_role("button", name="Create task").click()
    expect(marked(page, "task-percent")).to_be_visible()
    expect(marked(page, "task-state")).to_have_text("done", timeout=UPGRADE_TIMEOUT)
    expect(marked(page, "task-percent")).to_have_text("100 %")
    expect(marked(page, "task-done")).to_have_text("1 of 1 done")
    picture(page, "task")

    page.goto(device_url)
    expect(marked(page, "live-version")).to_have_text("1.0")
    page.goto("/")
    expect(marked(page, "count-devices")).to_have_text("1")
    picture(page, "dashboard")
