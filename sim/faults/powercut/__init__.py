"""The power-cut laboratory: loss of power at every flash operation of a path, and what comes of it."""
