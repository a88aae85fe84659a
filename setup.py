"""The one thing that setup.cfg cannot say: C kernels, compiled where there is a compiler."""

from setuptools import Extension, setup

FOLDER = "modelzoo_mediswift/kernels"

setup(
    ext_modules=[
        Extension(
            "modelzoo_mediswift.kernels._sparse_linear",
            sources=[
                f"{FOLDER}/{name}.c"
                for name in (
                    "sparse_linear",
                    "threads",
                    "portable",
                    "avx2",
                    "avx512",
                    "avx512_bf16",
                    "attention",
                )
            ],
            depends=[
                f"{FOLDER}/{name}.h"
                for name in (
                    "sparse_linear",
                    "threads",
                    "vector_kernels",
                    "scalar_kernels",
                    "avx512",
                    "avx512_bf16",
                    "attention",
                )
            ],
            extra_compile_args=["-O3", "-std=gnu11"],
            libraries=["dl", "pthread", "m"],
            optional=True,  # without it training is masked-dense
        )
    ]
)
