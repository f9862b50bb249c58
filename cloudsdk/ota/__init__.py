"""Firmware over the air: package format, codecs, transport cipher, download."""
