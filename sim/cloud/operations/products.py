"""Products (platform 2)."""

from sim.cloud.model import products
from sim.cloud.model.keys import reveal_product_key
from sim.cloud.model.work import Scope
from sim.cloud.operations.base import BaseOperations
from sim.cloud.shapes import DEFAULT_DEVICE_LIMIT, OPERATOR, ProductInfo


class ProductOperations(BaseOperations):
    def create_product(
        self,
        name: str,
        *,
        account: str = OPERATOR,
        kind: str = "",
        model: str = "",
        connection: str = "",
        description: str = "",
        device_limit: int = DEFAULT_DEVICE_LIMIT,
    ) -> ProductInfo:
        """The result holds the ProductKey."""
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

    def show_product(self, product: str, *, keys: bool = False) -> ProductInfo:
        with self._work(Scope.READ, *([Scope.KEYS] if keys else [])) as work:
            found = products.find_product(work, product)
            return products.product_info(work, found, key=reveal_product_key(work, found) if keys else None)
