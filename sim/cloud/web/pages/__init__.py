"""The pages, one module each."""

from typing import Final

from sim.cloud.web.pages import dashboard, product, products
from sim.cloud.web.routes import HOME_PATH, PRODUCTS_PATH, PageRoute

PAGES: Final = (
    PageRoute(HOME_PATH, "dashboard.title", dashboard.build),
    PageRoute(PRODUCTS_PATH, "products.title", products.build),
    PageRoute(PRODUCTS_PATH + "/{product_id}", "product.title", product.build, PRODUCTS_PATH),
)
