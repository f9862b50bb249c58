"""ProductKeys and DeviceKeys in clear text. Nothing else opens or seals them."""

from sim.cloud.model.tables import Device, Product
from sim.cloud.model.vault import DEVICE, PRODUCT
from sim.cloud.model.work import Work


def open_product_key(work: Work, product: Product) -> str:
    return work.vault.open(PRODUCT, product.product_id, product.product_key)


def open_device_key(work: Work, device: Device) -> str:
    return work.vault.open(DEVICE, device.device_id, device.device_key)


def sealed_product_key(work: Work, product_id: str, key: str) -> str:
    """What `Product.product_key` keeps."""
    return work.vault.seal(PRODUCT, product_id, key)


def sealed_device_key(work: Work, device_id: str, key: str) -> str:
    """What `Device.device_key` keeps."""
    return work.vault.seal(DEVICE, device_id, key)
