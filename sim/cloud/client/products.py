"""Products (platform 2)."""

from typing import Unpack, cast

from sim.cloud.client.http import ApiSession
from sim.cloud.pages import MAX_PAGE
from sim.cloud.shapes import DEFAULT_DEVICE_LIMIT, Page, ProductChanges, ProductInfo, ProductKeyInfo


class ProductCalls(ApiSession):
    def create_product(
        self,
        name: str,
        *,
        account: str | None = None,
        kind: str = "",
        model: str = "",
        connection: str = "",
        description: str = "",
        device_limit: int = DEFAULT_DEVICE_LIMIT,
    ) -> ProductInfo:
        body = {
            "name": name,
            "account": account,
            "kind": kind,
            "model": model,
            "connection": connection,
            "description": description,
            "device_limit": device_limit,
        }
        return cast(ProductInfo, self._post("/products", body))

    def list_products(self) -> list[ProductInfo]:
        return self._all(lambda after: self.page_products(after=after, limit=MAX_PAGE))

    def page_products(
        self, *, search: str | None = None, after: int = 0, limit: int = 100
    ) -> Page[ProductInfo]:
        return cast(Page[ProductInfo], self._get("/products", search=search, after=after, limit=limit))

    def show_product(self, product: str, *, keys: bool = False) -> ProductInfo:
        return cast(ProductInfo, self._get("/products/find", ref=product, keys="true" if keys else None))

    def product_key(self, product: str) -> ProductKeyInfo:
        return cast(ProductKeyInfo, self._get(self._product_path(product) + "/key"))

    def update_product(self, product: str, **changes: Unpack[ProductChanges]) -> ProductInfo:
        return cast(ProductInfo, self._patch(self._product_path(product), dict(changes)))

    def publish_product(self, product: str) -> ProductInfo:
        return cast(ProductInfo, self._post(self._product_path(product) + "/publish"))

    def delete_product(self, product: str, *, cascade: bool = False) -> None:
        self._delete(self._product_path(product), cascade="true" if cascade else None)

    def _product_path(self, product: str) -> str:
        return f"/products/{self.show_product(product)['product_id']}"
