"""Named cases that any cloud, device or bootloader can be held against."""
