"""Only what pyproject.toml cannot say: the C core of the codecs."""

from setuptools import setup

setup(cffi_modules=["cloudsdk/ota/codecs/build_core.py:ffibuilder"])
