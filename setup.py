"""The compiled kernel: built where there is a C compiler, left out where there is none.

With DELTARING_BUILD_KERNEL=1 its absence is an error; with 0 it is not tried.
"""

import os
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

WANTED = os.environ.get("DELTARING_BUILD_KERNEL", "")
OPTIONS = ["-std=c11", "-O3", "-fvisibility=hidden"]
SOURCES = [
    "base64",
    "base64_x86",
    "base64_neon",
    "entry",
    "feed",
    "header",
    "method",
    "module",
    "reader",
    "scan",
    "sink",
]
HEADERS = ["base64", "entry", "feed", "header", "method", "reader", "scan", "sink"]


class OptionalBuild(build_ext):
    """Says in one line that there is no kernel, in place of failing."""

    def run(self) -> None:
        try:
            super().run()
        except Exception as error:  # compilers fail in as many ways as there are compilers
            if WANTED == "1":
                raise
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            sys.stderr.write(f"deltaring: no compiled kernel, the pure one will run: {reason}\n")
            for extension in self.extensions:  # nor one of an earlier build
                Path(self.get_ext_fullpath(extension.name)).unlink(missing_ok=True)
                Path(self.build_lib, self.get_ext_filename(extension.name)).unlink(missing_ok=True)
            self.extensions = []


kernel = Extension(
    "deltaring._kernel",
    [f"src/kernel/{name}.c" for name in SOURCES],
    depends=[f"src/kernel/{name}.h" for name in HEADERS],
    extra_compile_args=[] if sys.platform == "win32" else OPTIONS,
)

setup(
    ext_modules=[] if WANTED == "0" else [kernel],
    cmdclass={"build_ext": OptionalBuild},
)
