"""Board layouts as data, and generators of sample firmware. No third-party binaries."""
