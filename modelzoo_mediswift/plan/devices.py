"""Time and energy of a run by kind of device: tokens, FLOPs, and what a device makes of them.

A GPU executes a masked model densely, so sparsity saves no time there. Peaks and power are makers'
figures. Utilisation is assumed: what published runs of models of this size reach, in PaLM's
convention (docs/performance.md); none of it was measured with this project.
"""

from dataclasses import dataclass

from modelzoo_mediswift.plan.plan import Plan

ASSUMED = "assumed"
MEASURED = "measured"
SECONDS_PER_DAY = 86_400
JOULES_PER_KWH = 3.6e6


@dataclass(frozen=True)
class Device:
    """One device of a kind."""

    peak: float
    """FLOP/s, dense bfloat16."""
    utilisation: float
    """Share of the peak that training reaches; assumed."""
    watts: float
    """Of the board at full load; assumed to be drawn all the time."""


DEVICES = {
    "B200": Device(2250e12, 0.40, 1000.0),
    "H200": Device(989e12, 0.45, 700.0),
    "H100": Device(989e12, 0.45, 700.0),
    "A100": Device(312e12, 0.50, 400.0),
    "L40S": Device(362e12, 0.40, 350.0),
}


@dataclass(frozen=True)
class Estimate:
    """A run on ``count`` devices that divide the work without loss."""

    device: str
    count: int
    tokens_per_second: float
    source: str
    """ASSUMED or MEASURED: where the speed is from."""
    seconds: float | None
    """None where the file leaves the number of tokens open."""
    kwh: float | None
    """Of the devices alone, without hosts and cooling."""

    @property
    def days(self) -> float | None:
        return None if self.seconds is None else self.seconds / SECONDS_PER_DAY


def estimate(
    plan: Plan,
    device: str = "H100",
    count: int = 1,
    *,
    utilisation: float | None = None,
    watts: float | None = None,
    tokens_per_second: float | None = None,
) -> Estimate:
    """Time and energy of a plan; `tokens_per_second` of one device, where it was measured.

    Raises KeyError for a device that is not in DEVICES.
    """
    kind = DEVICES[device]
    share = kind.utilisation if utilisation is None else utilisation
    speed = tokens_per_second or kind.peak * share / plan.palm_flops_per_token
    seconds = None if plan.tokens is None else plan.tokens / (speed * count)
    power = (kind.watts if watts is None else watts) * count
    return Estimate(
        device,
        count,
        speed * count,
        ASSUMED if tokens_per_second is None else MEASURED,
        seconds,
        None if seconds is None else power * seconds / JOULES_PER_KWH,
    )
