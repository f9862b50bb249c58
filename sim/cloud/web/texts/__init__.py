"""What the console says: key -> (English, Chinese). One module per area; keys begin with the area."""

from typing import Final

from sim.cloud.web.texts import accounts, common, devices, errors, firmware, products, tasks

Texts = dict[str, tuple[str, str]]


def _merged(*parts: Texts) -> Texts:
    texts: Texts = {}
    for part in parts:
        doubled = texts.keys() & part.keys()
        if doubled:
            raise ValueError(f"texts are there twice: {sorted(doubled)}")
        texts |= part
    return texts


TEXTS: Final = _merged(
    common.TEXTS,
    accounts.TEXTS,
    devices.TEXTS,
    errors.TEXTS,
    firmware.TEXTS,
    products.TEXTS,
    tasks.TEXTS,
)
