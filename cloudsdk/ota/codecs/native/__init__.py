"""The codecs of the C core. Importing a module of it raises `ImportError` where the core was not built."""
