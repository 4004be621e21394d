"""`make bench-spine`: the two parts of the bench, one after the other; `--parts matching` for one."""

import argparse
import os
import sys

from bench.spine import matching, readers

PARTS = {"matching": matching.run, "readers": readers.run}


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.spine")
    parser.add_argument("--parts", default=",".join(PARTS), help=f"which, with commas between ({','.join(PARTS)})")
    asked = parser.parse_args().parts.split(",")
    print(f"load before: {os.getloadavg()[0]:.1f}", flush=True)
    return max([PARTS[part]() for part in asked])


if __name__ == "__main__":
    sys.exit(main())
