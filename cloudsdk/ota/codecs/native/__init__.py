"""The codecs of the C core. Importing any of its modules raises `ImportError` where the core was not built."""
