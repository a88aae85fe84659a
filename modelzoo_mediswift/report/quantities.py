"""How numbers are written. A missing one is a dash."""

from __future__ import annotations

MISSING = "-"


def count(value: float | None) -> str:
    """1,234,567"""
    return MISSING if value is None else f"{value:,.0f}"


def decimal(value: float | None, digits: int = 3) -> str:
    """2.141; 0.00014 where nothing would be left of it."""
    if value is None:
        return MISSING
    return f"{value:.2g}" if 0 < abs(value) < 10**-digits else f"{value:.{digits}f}"


def percent(fraction: float | None, digits: int = 1) -> str:
    """75.4 %"""
    return MISSING if fraction is None else f"{100 * fraction:.{digits}f} %"


def power(value: float | None) -> str:
    """3.448e20"""
    if value is None:
        return MISSING
    mantissa, _, exponent = f"{value:.3e}".partition("e")
    return f"{mantissa}e{int(exponent)}"


def duration(seconds: float | None) -> str:
    """2 h 05 min"""
    if seconds is None:
        return MISSING
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 48 * 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} d {whole % 86400 // 3600:02d} h"


def ratio(part: float | None, whole: float | None) -> float | None:
    """part / whole, where that means something."""
    return None if part is None or not whole else part / whole
