"""What the cloud keeps, and the functions of one open transaction that work on it."""
