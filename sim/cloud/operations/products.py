"""Products (platform 2)."""

from typing import Unpack

from sim.cloud.model import library, products
from sim.cloud.model.work import Scope
from sim.cloud.operations.base import BaseOperations
from sim.cloud.shapes import (
    DEFAULT_DEVICE_LIMIT,
    Page,
    ProductChanges,
    ProductInfo,
    ProductKeyInfo,
)


class ProductOperations(BaseOperations):
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
        """The product belongs to the caller's account, the operator may name another. The result holds the
        ProductKey."""
        with self._work(Scope.MANAGE) as work:
            return products.create_product(
                work,
                name,
                account=account,
                kind=kind,
                model=model,
                connection=connection,
                description=description,
                device_limit=device_limit,
            )

    def list_products(self) -> list[ProductInfo]:
        with self._work(Scope.READ) as work:
            return products.list_products(work)

    def page_products(
        self, *, search: str | None = None, after: int = 0, limit: int = 100
    ) -> Page[ProductInfo]:
        """`search` is a part of the name or ProductID."""
        with self._work(Scope.READ) as work:
            return products.page_products(work, search=search, after=after, limit=limit)

    def show_product(self, product: str, *, keys: bool = False) -> ProductInfo:
        with self._work(Scope.READ, *([Scope.KEYS] if keys else [])) as work:
            row = products.find_product(work, product)
            info = products.product_info(work, row)
            if keys:
                info["product_key"] = products.product_key(work, row.product_id)["product_key"]
            return info

    def product_key(self, product: str) -> ProductKeyInfo:
        """The ProductKey; audited."""
        with self._work(Scope.KEYS) as work:
            return products.product_key(work, product)

    def update_product(self, product: str, **changes: Unpack[ProductChanges]) -> ProductInfo:
        """Modify an unpublished product (platform 2.3); what is not given stays."""
        with self._work(Scope.MANAGE) as work:
            return products.update_product(work, product, changes)

    def publish_product(self, product: str) -> ProductInfo:
        """Publish (platform 2.4): the product can no longer be modified or deleted."""
        with self._work(Scope.MANAGE) as work:
            return products.publish_product(work, product)

    def delete_product(self, product: str, *, cascade: bool = False) -> None:
        """Delete an unpublished product (platform 2.3), with `cascade` even if it has devices.

        Its devices are disconnected, and packages that no other product has are removed.
        """
        with self._work(Scope.MANAGE) as work:
            gone, hashes = products.delete_product(work, product, cascade=cascade)
            unused = library.unused_packages(work, hashes)
        for sha256 in unused:
            self.core.blobs.remove(sha256)
        if gone:
            self.core.devices_gone(gone)
