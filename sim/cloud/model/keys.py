"""ProductKeys and DeviceKeys in clear text. Nothing else opens them."""

from sim.cloud.model.audit import audit
from sim.cloud.model.tables import Device, Product
from sim.cloud.model.vault import DEVICE, PRODUCT
from sim.cloud.model.work import Work


def product_key(work: Work, product: Product) -> str:
    """For the cloud's own use."""
    return work.vault.open(PRODUCT, product.product_id, product.product_key)


def device_key(work: Work, device: Device) -> str:
    """For the cloud's own use."""
    return work.vault.open(DEVICE, device.device_id, device.device_key)


def reveal_product_key(work: Work, product: Product) -> str:
    """For the caller's eyes, which is noted."""
    audit(work, "product.show-key", product.product_id, account=product.account_id)
    return product_key(work, product)


def reveal_device_key(work: Work, device: Device) -> str:
    """For the caller's eyes, which is noted."""
    audit(work, "device.show-key", device.device_id, account=device.product.account_id)
    return device_key(work, device)
