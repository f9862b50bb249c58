"""The `cloudsim` command: one small file per command group."""
