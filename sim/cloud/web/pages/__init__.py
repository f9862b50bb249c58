"""The pages, one module each."""

from typing import Final

from sim.cloud.web.pages import (
    account,
    audit,
    binding,
    dashboard,
    device,
    devices,
    firmware,
    firmware_list,
    login,
    pack,
    product,
    products,
    shell,
    task,
    task_wizard,
    tasks,
)
from sim.cloud.web.routes import (
    ACCOUNT_PATH,
    AUDIT_PATH,
    BINDING_PATH,
    DEVICES_PATH,
    FIRMWARE_PATH,
    HOME_PATH,
    LOGIN_PATH,
    NEW_TASK_PATH,
    PACK_PATH,
    PRODUCTS_PATH,
    REGISTER_PATH,
    TASKS_PATH,
    PageRoute,
)

#: The first that fits a path is meant.
PAGES: Final = (
    PageRoute(LOGIN_PATH, "login.title", login.build_login, public=True),
    PageRoute(REGISTER_PATH, "register.title", login.build_register, public=True),
    PageRoute(HOME_PATH, "dashboard.title", dashboard.build),
    PageRoute(PRODUCTS_PATH, "products.title", products.build),
    PageRoute(PRODUCTS_PATH + "/{product_id}", "product.title", product.build, PRODUCTS_PATH),
    PageRoute(DEVICES_PATH, "devices.title", devices.build),
    PageRoute(DEVICES_PATH + "/{device_id}", "device.title", device.build, DEVICES_PATH),
    PageRoute(DEVICES_PATH + "/{device_id}/shell", "shell.title", shell.build, DEVICES_PATH),
    PageRoute(FIRMWARE_PATH, "firmware.title", firmware_list.build),
    PageRoute(PACK_PATH, "pack.title", pack.build),
    PageRoute(FIRMWARE_PATH + "/{firmware_id}", "firmware.title", firmware.build, FIRMWARE_PATH),
    PageRoute(TASKS_PATH, "tasks.title", tasks.build),
    PageRoute(NEW_TASK_PATH, "tasks.create", task_wizard.build, TASKS_PATH),
    PageRoute(TASKS_PATH + "/{task_id}", "task.title", task.build, TASKS_PATH),
    PageRoute(AUDIT_PATH, "audit.title", audit.build),
    PageRoute(BINDING_PATH, "bind.title", binding.build, DEVICES_PATH),
    PageRoute(ACCOUNT_PATH, "account.title", account.build),
)
