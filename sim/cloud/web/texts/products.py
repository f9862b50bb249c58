"""Dashboard, products and first steps."""

from typing import Final

TEXTS: Final = {
    "dashboard.title": ("Dashboard", "概览"),
    "products.title": ("Products", "产品"),
    "products.create": ("Create product", "创建产品"),
    "products.empty": ("There are no products yet.", "还没有产品。"),
    "product.title": ("Product", "产品"),
    "product.name": ("Name", "名称"),
    "product.kind": ("Type", "类型"),
    "product.kind-hint": ("For example smart home", "例如：智能家居"),
    "product.model": ("Model", "型号"),
    "product.connection": ("Connection", "联网方式"),
    "product.connection-hint": ("For example Wi-Fi", "例如：Wi-Fi"),
    "product.limit": ("Maximum number of devices", "最大设备数"),
    "product.description": ("Description", "描述"),
    "product.devices": ("Devices", "设备"),
    "product.used": ("{used} of {limit}", "{used} / {limit}"),
    "product.created": ("Created", "创建时间"),
    "product.updated": ("Updated", "更新时间"),
    "product.state": ("State", "状态"),
    "product.published": ("published", "已发布"),
    "product.unpublished": ("not published", "未发布"),
}
