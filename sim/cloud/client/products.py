"""Products (platform 2)."""

from typing import cast

from sim.cloud.client.http import ApiSession
from sim.cloud.shapes import DEFAULT_DEVICE_LIMIT, ProductInfo


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
        return cast(list[ProductInfo], self._get("/products"))

    def show_product(self, product: str, *, keys: bool = False) -> ProductInfo:
        return cast(ProductInfo, self._get("/products/find", ref=product, keys="true" if keys else None))
