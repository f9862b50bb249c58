"""Products and first steps."""

from typing import Final

TEXTS: Final = {
    "products.title": ("Products", "产品"),
    "products.create": ("Create product", "创建产品"),
    "products.search": ("Name or ProductID", "名称或 ProductID"),
    "products.empty": ("There are no such products.", "没有符合条件的产品。"),
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
    "product.activated": ("Activated", "已激活"),
    "product.online": ("Online", "在线"),
    "product.created": ("Created", "创建时间"),
    "product.updated": ("Updated", "更新时间"),
    "product.published-at": ("Published", "发布时间"),
    "product.owner": ("Account", "所属账户"),
    "product.id": ("ProductID", "ProductID"),
    "product.key": ("ProductKey", "ProductKey"),
    "product.state": ("State", "状态"),
    "product.published": ("published", "已发布"),
    "product.unpublished": ("not published", "未发布"),
    "product.fixed": ("Published: it can no longer change", "已发布，不能再修改"),
    "product.edit": ("Edit product", "编辑产品"),
    "product.ask-publish": (
        "Publish the product? It can be neither modified nor deleted after that.",
        "发布该产品？发布后不能再修改或删除。",
    ),
    "product.ask-delete": (
        "Delete the product {name}? Its {devices} devices, firmware, tasks and logs are deleted with it.",
        "删除产品 {name}？其 {devices} 台设备、固件、任务和日志将一并删除。",
    ),
    "steps.title": ("First steps", "入门步骤"),
    "steps.product": ("Create a product", "创建产品"),
    "steps.product-why": (
        "A product is a class of devices. It gets a ProductID and a ProductKey.",
        "产品是一类设备，创建后获得 ProductID 和 ProductKey。",
    ),
    "steps.device": ("Add a device", "添加设备"),
    "steps.device-why": (
        "By the SN that the device has in its port: the two must be equal, or activation fails with 400.",
        "填写设备移植文件中的 SN：两者必须一致，否则激活返回 400。",
    ),
    "steps.port": ("Enter the settings into the device's port", "在设备移植文件中填写参数"),
    "steps.port-why": (
        "rt_cld_port.c supplies the SN, the ProductID and the ProductKey above.",
        "rt_cld_port.c 提供 SN、ProductID 和上面的 ProductKey。",
    ),
    "steps.run": ("Power on, or run a simulated device", "上电，或运行模拟设备"),
    "steps.run-why": (
        "The first power-up activates the device; this page then shows it online. The second command asks "
        "for the ProductKey.",
        "首次上电时设备自动激活，之后此页面显示设备在线。第二条命令等待输入 ProductKey。",
    ),
    "steps.next": ("Upgrade it", "升级设备"),
    "steps.next-why": (
        "Pack a firmware, upload it, and create an OTA task.",
        "打包固件、上传固件并创建升级任务。",
    ),
}
