"""The pages, one module each."""

from typing import Final

from sim.cloud.web.pages import account, audit, dashboard, login, product, products
from sim.cloud.web.routes import (
    ACCOUNT_PATH,
    AUDIT_PATH,
    HOME_PATH,
    LOGIN_PATH,
    PRODUCTS_PATH,
    REGISTER_PATH,
    PageRoute,
)

PAGES: Final = (
    PageRoute(LOGIN_PATH, "login.title", login.build_login, public=True),
    PageRoute(REGISTER_PATH, "register.title", login.build_register, public=True),
    PageRoute(HOME_PATH, "dashboard.title", dashboard.build),
    PageRoute(PRODUCTS_PATH, "products.title", products.build),
    PageRoute(PRODUCTS_PATH + "/{product_id}", "product.title", product.build, PRODUCTS_PATH),
    PageRoute(AUDIT_PATH, "audit.title", audit.build),
    PageRoute(ACCOUNT_PATH, "account.title", account.build),
)
