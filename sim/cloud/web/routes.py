"""What a page is to the console, and the addresses of all of them."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from sim.cloud.web.visit import Visit

HOME_PATH: Final = "/"
LOGIN_PATH: Final = "/login"
REGISTER_PATH: Final = "/register"
LOGOUT_PATH: Final = "/logout"
ACCOUNT_PATH: Final = "/account"
PRODUCTS_PATH: Final = "/products"
DEVICES_PATH: Final = "/fleet"  # /devices belongs to the devices themselves (cloudsdk-protocol 1, 8)
FIRMWARE_PATH: Final = "/firmware"
PACK_PATH: Final = "/firmware/pack"
TASKS_PATH: Final = "/tasks"
NEW_TASK_PATH: Final = "/tasks/new"
BINDING_PATH: Final = "/m/"  # in the QR code of a device (cloudsdk-protocol 8)
AUDIT_PATH: Final = "/audit"


@dataclass(frozen=True, slots=True)
class PageRoute:
    """`path` as Starlette spells it; `title` and `section` are keys of texts and addresses of the menu."""

    path: str
    title: str
    build: Callable[[Visit], Awaitable[None]]
    section: str = ""
    public: bool = False


def product_path(product_id: str) -> str:
    return f"{PRODUCTS_PATH}/{product_id}"


def device_path(device_id: str) -> str:
    return f"{DEVICES_PATH}/{device_id}"


def shell_path(device_id: str) -> str:
    return f"{DEVICES_PATH}/{device_id}/shell"


def firmware_path(firmware_id: int) -> str:
    return f"{FIRMWARE_PATH}/{firmware_id}"


def task_path(task_id: int) -> str:
    return f"{TASKS_PATH}/{task_id}"
