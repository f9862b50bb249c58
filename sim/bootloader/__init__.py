"""Bootloader behaviour: a function of flash content that returns what happens next and writes a console."""
