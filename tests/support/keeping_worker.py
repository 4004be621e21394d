"""A process of processors that commits its offsets again as often as KEEP_OFFSETS_SECONDS says."""

import os
import sys

from processors import __main__ as processors
from processors.runtime import transport

if __name__ == "__main__":
    transport.KEEP_OFFSETS_SECONDS = float(os.environ["KEEP_OFFSETS_SECONDS"])
    sys.exit(processors.main())
