"""The commands of the boards, one module per family."""
