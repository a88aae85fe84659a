"""The one thing that setup.cfg cannot say: C kernels, compiled where there is a compiler."""

from pathlib import Path

from setuptools import Extension, setup

KERNELS = Path("modelzoo_mediswift/kernels")

setup(
    ext_modules=[
        Extension(
            "modelzoo_mediswift.kernels._sparse_linear",
            sources=sorted(map(str, KERNELS.glob("*.c"))),
            depends=sorted(map(str, KERNELS.glob("*.h"))),
            extra_compile_args=["-O3", "-std=gnu11"],
            libraries=["dl", "pthread", "m"],
            optional=True,  # without it training is masked-dense
        )
    ]
)
