"""The environment of the commands: the terminal's, and what a development run writes into its home directory.

A run that was started with other ports (`ATLAS_PORT_BASE`, in the terminal of `make run` alone) is found in every other
terminal as well.
"""

import os
from collections.abc import Mapping

from deploy.local import dev_file
from operations.settings import home_directory

SAYS_WHERE = frozenset({"ATLAS_KAFKA", "ATLAS_PORT_BASE"})


def found_environment() -> Mapping[str, str]:
    """The broker's address from the terminal's own environment wins."""
    if any(os.environ[name] for name in SAYS_WHERE & os.environ.keys()):
        return os.environ
    run = dev_file.read(home_directory(os.environ))
    return os.environ if run is None else {**os.environ, "ATLAS_KAFKA": run["kafka"]}
