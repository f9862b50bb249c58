"""The codecs in plain Python: what the C core has to agree with, and what runs where it was not built."""
