"""What the paper prints about its nine models, typed from its tables, for comparison.

MediSwift: Efficient Sparse Pre-trained Biomedical Language Models, arXiv 2403.00952. Shapes,
tokens: Table 5. Loss, FLOPs, ratio: Table 6, of which Table 2 is a part. PubMedQA accuracy:
Table 3. HoC micro-F1: Table 4. They stand beside our own numbers, and none of ours is computed
from them.
"""

from __future__ import annotations

from dataclasses import dataclass

VOCAB_SIZE = 42_384
SEQUENCE_LENGTH = 1024
TOKENS = 104_857_600_000  # 200,000 steps of 512 sequences


@dataclass(frozen=True)
class Shape:
    layers: int
    width: int
    """d_model."""
    heads: int


@dataclass(frozen=True)
class Model:
    """One row of the paper's tables."""

    name: str
    shape: Shape
    sparsity: float
    loss: float
    """At the end of pre-training, nats per token."""
    flops: float
    """Of pre-training."""
    ratio: float
    """FLOPs in units of the dense model's."""
    pubmedqa: float
    """Accuracy, a fraction: reasoning-required, mean of three seeds."""
    hoc: float
    """Micro-F1, a fraction: document level, mean of three seeds."""
    note: str = ""

    @property
    def weights(self) -> float:
        """Non-zero weights of the decoder's matrices: the size in the paper's tables."""
        return 12 * self.shape.layers * self.shape.width**2 * (1 - self.sparsity)


MED, LARGE, XL = Shape(24, 1024, 16), Shape(18, 1536, 12), Shape(24, 2048, 16)

MODELS = (
    Model("Med, dense", MED, 0.0, 2.234, 2.677e20, 1.00, 0.742, 0.8515),
    Model("Med, 50 %", MED, 0.5, 2.265, 1.727e20, 0.64, 0.738, 0.8448),
    Model("Med, 75 %", MED, 0.75, 2.375, 1.252e20, 0.46, 0.724, 0.8395),
    Model("Large, dense", LARGE, 0.0, 2.047, 4.248e20, 1.00, 0.751, 0.8522),
    Model("Large, 50 %", LARGE, 0.5, 2.172, 2.645e20, 0.62, 0.742, 0.8463),
    Model(
        "Large, 75 %",
        LARGE,
        0.75,
        2.281,
        1.840e20,
        0.43,
        0.734,
        0.8412,
        note="The paper prints 1.840e20 FLOPs for Large at 75 %. The formula behind its other "
        "eight values gives 1.843e20, and so do its own two other values for Large: a misprint.",
    ),
    Model("XL, dense", XL, 0.0, 1.979, 9.148e20, 1.00, 0.768, 0.8546),
    Model("XL, 50 %", XL, 0.5, 2.012, 5.348e20, 0.58, 0.763, 0.8498),
    Model("XL, 75 %", XL, 0.75, 2.141, 3.448e20, 0.38, 0.754, 0.8471),
)


@dataclass(frozen=True)
class Other:
    """Another model, with the score that the paper quotes for it."""

    name: str
    parameters: float | None
    score: float
    """A fraction."""
    note: str = ""


ZERO_SHOT = "zero-shot"
REPRODUCED = "reproduced by the paper's authors"

PUBMEDQA = (
    Other("PubMedBERT", 110e6, 0.558),
    Other("BioELECTRA", 110e6, 0.642),
    Other("BioLinkBERT base", 110e6, 0.702),
    Other("BioLinkBERT large", 340e6, 0.722),
    Other("BioGPT", 345e6, 0.736, REPRODUCED),
    Other("DRAGON", 360e6, 0.734),
    Other("BioGPT large", 1.54e9, 0.755, REPRODUCED),
    Other("BioMedLM", 2.7e9, 0.744),
    Other("PMC-LLaMA", 7e9, 0.734),
    Other("GPT-3.5", None, 0.716, ZERO_SHOT),
    Other("GPT-4", None, 0.752, ZERO_SHOT),
)
HOC = (
    Other("BioBERT", 110e6, 0.8154),
    Other("PubMedBERT", 110e6, 0.8232),
    Other("BioLinkBERT base", 110e6, 0.8435),
    Other("BioLinkBERT large", 340e6, 0.8457),
    Other("GPT-2 medium", 345e6, 0.8154),
    Other("BioGPT", 345e6, 0.8512),
    Other("BioGPT large", 1.54e9, 0.8440),
)


def find_model(matrix_weights: float, head_width: float, sparsity: float) -> Model | None:
    """The paper's model with this many weights in the decoder's matrices (zeros included), this
    width per head and this fraction of zeros in the matrices."""
    for model in MODELS:
        shape = model.shape
        if (
            matrix_weights == 12 * shape.layers * shape.width**2
            and abs(head_width - shape.width / shape.heads) < 1e-6
            and abs(sparsity - model.sparsity) < 1e-3
        ):
            return model
    return None
