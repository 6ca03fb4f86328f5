"""How often the bound that right-sizing goes by held: measured throughput of published pairs over the lesser ratio, by source.

Run with `PYTHONPATH=tests`. In-sample: the margin was chosen on these very pairs.
"""

from __future__ import annotations

from infermeter.advice.sizing import BOUND, SizingSettings
from support.transfer_pairs import over_least, pairs

EDGES = (1.0, 0.9, 0.85, BOUND)


def main() -> None:
    known = pairs()
    print("measured throughput / min(1, bandwidth ratio, arithmetic ratio); in-sample: the margin of 0.80 was chosen on these pairs\n")
    print(f"| source | n | {' | '.join(f'>= {edge:.2f}' for edge in EDGES)} | min | above | by catalogue >= {BOUND:.2f} |")
    print("| --- " * (len(EDGES) + 5) + "|")
    for source in (*dict.fromkeys(pair.source for pair in known), None):
        chosen = [pair for pair in known if source in (None, pair.source)]
        over = [over_least(pair) for pair in chosen]
        shares = " | ".join(f"{sum(ratio >= edge for ratio in over) / len(over):.1%}" for edge in EDGES)
        above = sum(pair.actual > max(pair.bandwidth, pair.flops) for pair in chosen)
        lows = [(pair.actual, pair.told_by_catalogue(0.01, SizingSettings()).throughput_ratio_low) for pair in chosen]
        held = sum(low is not None and actual >= low for actual, low in lows)
        print(f"| {source or 'all'} | {len(over)} | {shares} | {min(over):.3f} | {above} | {held} |")


if __name__ == "__main__":
    main()
