"""What a Prometheus beside a development run needs: our configuration and alerts, and where the processes listen.

prometheus --config.file=$ATLAS_HOME/prometheus/prometheus.yml
"""

import json
from collections.abc import Mapping
from pathlib import Path

from operations.private_files import write_whole

SHIPPED = Path(__file__).parents[1] / "prometheus"
CONFIGURATION, ALERTS, TARGETS = "prometheus.yml", "alerts.yml", "targets.json"


def write_scraping(home: Path, operations: Mapping[str, str]) -> Path:
    """`operations`: the operations port of each process, as `host:port`. Returns the configuration's path."""
    folder = home / "prometheus"
    folder.mkdir(parents=True, exist_ok=True)
    for name in (CONFIGURATION, ALERTS):
        write_whole(folder / name, (SHIPPED / name).read_bytes())
    targets = [{"targets": [address], "labels": {"process": process}} for process, address in operations.items()]
    write_whole(folder / TARGETS, f"{json.dumps(targets, indent=2)}\n".encode())
    return folder / CONFIGURATION
