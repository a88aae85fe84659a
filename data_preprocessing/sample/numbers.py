"""Numbers that fit a verdict: groups compared, effects with intervals, p values."""

import math
import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Style:
    """How an article writes a p value and a 95 % interval."""

    p: str
    interval: str


@dataclass(frozen=True)
class Comparison:
    """Two groups compared: the written values, the effect with its 95 % interval, and p."""

    values: str
    effect: str
    p: str
    p_value: float

    def brackets(self, rng: random.Random) -> str:
        """One of the usual ways to put the numbers into parentheses."""
        inside = (
            f"{self.values}, {self.p}",
            f"{self.values}; {self.p}",
            self.effect,
            f"{self.effect}; {self.p}",
            self.p,
        )
        return f"({rng.choice(inside)})"


def draw_style(rng: random.Random, kind: str) -> Style:
    p = rng.choice(("p = {}", "p = {}", "P = {}", "p={}"))
    # a dash between negative numbers cannot be read, so differences always say "to"
    intervals = ("95% CI {} to {}", "95% CI {}-{}", "95% CI: {}-{}")
    return Style(p, rng.choice(intervals) if kind == "percent" else intervals[0])


def p_text(z: float, style: Style) -> tuple[str, float]:
    """The two-sided p value of a normal deviate, as written and as a number."""
    p = math.erfc(z / math.sqrt(2))
    if p < 0.001:
        return style.p.replace("=", "<").format("0.001"), p
    return style.p.format(f"{p:.3f}" if p < 0.01 else f"{p:.2f}"), p


def _fixed(value: float, digits: int) -> str:
    """Fixed decimals without a negative zero."""
    return f"{round(value, digits) + 0.0:.{digits}f}"


def compare(
    rng: random.Random, kind: str, rising: bool, z: float, n: int, style: Style
) -> Comparison:
    """Numbers for two groups of n each whose difference has this |z|, in agreement with each other.

    `kind` is an outcome's kind (words.Kind); `rising` says that the first group has the larger
    value.
    """
    if kind == "percent":
        return _proportions(rng, rising, z, n, style)
    return _means(rng, kind, rising, z, n, style)


def _proportions(rng: random.Random, rising: bool, z: float, n: int, style: Style) -> Comparison:
    base = rng.uniform(0.15, 0.45) if rising else rng.uniform(0.25, 0.55)
    gap = z * math.sqrt(2 * base * (1 - base) / n)
    other = min(max(base + gap if rising else base - gap, 0.03), 0.95)
    digits = rng.choice((0, 1))
    log_ratio = math.log(other * (1 - base) / (base * (1 - other)))
    error = max(abs(log_ratio) / z, 0.05)
    low, high = math.exp(log_ratio - 1.96 * error), math.exp(log_ratio + 1.96 * error)
    interval = style.interval.format(f"{low:.2f}", f"{high:.2f}")
    return Comparison(
        f"{100 * other:.{digits}f}% vs {100 * base:.{digits}f}%",
        f"{rng.choice(('OR', 'HR', 'RR'))} {math.exp(log_ratio):.2f}, {interval}",
        *p_text(z, style),
    )


def _means(
    rng: random.Random, kind: str, rising: bool, z: float, n: int, style: Style
) -> Comparison:
    mean, spread, unit, digits = {
        "score": (rng.uniform(35, 60), rng.uniform(10, 18), "", 1),
        "days": (rng.uniform(7, 14), rng.uniform(2, 4), " days", 1),
        "metres": (rng.uniform(300, 420), rng.uniform(60, 90), " m", 0),
        "fold": (100.0, rng.uniform(12, 20), "% of control", 0),
    }[kind]
    error = spread * math.sqrt(2 / n)
    gap = z * error if rising else -z * error
    values = f"{mean + gap:.{digits}f} vs {mean:.{digits}f}{unit}"
    if rng.random() < 0.3:
        values = (
            f"{mean + gap:.{digits}f} ± {spread:.{digits}f} vs "
            f"{mean:.{digits}f} ± {spread * 1.05:.{digits}f}{unit}"
        )
    interval = style.interval.format(
        _fixed(gap - 1.96 * error, digits), _fixed(gap + 1.96 * error, digits)
    )
    effect = f"mean difference {_fixed(gap, digits)}, {interval}"
    return Comparison(values, effect, *p_text(z, style))


def accuracy(rng: random.Random, verdict: str) -> dict[str, str]:
    """Slots of a diagnostic test: useful, useless, or good at one thing only."""
    low, high = {"yes": (0.86, 0.95), "no": (0.49, 0.58), "maybe": (0.66, 0.74)}[verdict]
    area = rng.uniform(low, high)
    if verdict == "maybe":
        sensitivity, specificity = rng.randint(48, 60), rng.randint(86, 94)
    else:
        centre = round(100 * area) - (4 if verdict == "yes" else 2)
        sensitivity, specificity = centre + rng.randint(-3, 3), centre + rng.randint(-3, 3)
    width = rng.uniform(0.03, 0.05)
    return {
        "auc": f"{area:.2f}",
        "auc_ci": f"95% CI {area - width:.2f}-{min(area + width, 0.99):.2f}",
        "sensitivity": str(sensitivity),
        "specificity": str(specificity),
    }


def margins(rng: random.Random, verdict: str) -> dict[str, str]:
    """Slots of a noninferiority trial: a difference and its upper bound against a margin."""
    margin = rng.choice((5, 8, 10))
    gap, bound = {
        "yes": (rng.uniform(-0.2, 0.15), rng.uniform(0.45, 0.85)),
        "no": (rng.uniform(1.2, 1.8), rng.uniform(2.1, 2.8)),
        "maybe": (rng.uniform(0.3, 0.6), rng.uniform(1.15, 1.6)),
    }[verdict]
    return {
        "margin": str(margin),
        "gap": _fixed(gap * margin, 1),
        "bound": _fixed(bound * margin, 1),
    }
