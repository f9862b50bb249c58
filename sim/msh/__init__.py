"""The board's msh console: bytes typed in, bytes shown, everything it needs handed in."""
