"""Peak dense bfloat16 rates of accelerators, FLOP/s, from their maker's documents."""

from __future__ import annotations

import re

# NVIDIA's data sheets, which give most rates "with sparsity": those are halved here. Blackwell is
# from its architecture's technical brief, per GPU: GB200 at 1,200 W, B200 in HGX at 1,000 W. The
# RTX cards are from the white papers of GA102 and Ada, with sums in fp32, as training takes them.
# First match wins, so a longer name stands before its prefix.
PEAK_BF16 = {
    "GB200": 2500e12,
    "B200": 2250e12,
    "H200 NVL": 835e12,
    "H200": 989e12,
    "H100 NVL": 835e12,
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "GH200": 989e12,
    "A100": 312e12,
    "A800": 312e12,
    "H800 PCIe": 756e12,
    "H800": 989e12,
    "L40S": 362e12,
    "L40": 181e12,
    "L4": 121e12,
    "A10G": 70e12,
    "A10": 125e12,
    "A40": 150e12,
    "RTX 4090": 165e12,
    "RTX 3090": 71e12,
}


def peak_flops(device_name: str) -> float | None:
    """The peak of a device by its name; None where it is not known."""
    if "Laptop" in device_name or " MIG " in device_name:  # less than what the name says
        return None
    for name, peak in PEAK_BF16.items():
        if re.search(rf"\b{name}\b", device_name):  # whole words: an RTX A1000 is no A100
            return peak
    return None
