"""QR codes of short texts (segno)."""

import io
from typing import Final, Literal

import segno

QrFormat = Literal["svg", "png"]

MEDIA_TYPES: Final[dict[QrFormat, str]] = {"svg": "image/svg+xml", "png": "image/png"}
SCALE: Final = 8  # pixels of a module


def qr_image(text: str, kind: QrFormat) -> bytes:
    """`text` as an image, black on white."""
    out = io.BytesIO()
    segno.make_qr(text).save(out, kind=kind, scale=SCALE, light="#fff")
    return out.getvalue()


def qr_terminal(text: str) -> str:
    """`text` as lines of block characters, to be read on a dark or a light terminal."""
    out = io.StringIO()
    segno.make_qr(text).terminal(out, compact=True)
    return out.getvalue()
