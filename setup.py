"""Only what pyproject.toml cannot say: the C core of the codecs."""

from setuptools import Extension, setup

setup(
    cffi_modules=["cloudsdk/ota/codecs/build_core.py:ffibuilder"],
    ext_modules=[
        Extension(
            "cloudsdk.ota.codecs._calls",
            ["cloudsdk/ota/codecs/calls.c", "cloudsdk/ota/codecs/core.c"],
            depends=["cloudsdk/ota/codecs/core.h"],
            extra_compile_args=["-O3", "-std=c11", "-Wall", "-Wextra"],
            py_limited_api=True,
            optional=True,
        )
    ],
)
