"""The world around the device: flash, bootloader, board, reference cloud, command line."""
