"""Emulated NOR flash, FAL partitions, image files and the EasyFlash ENV on them."""
