"""nginx and HAProxy as deploy/proxy has them, on free ports before gateways of this machine.

What a test changes of the shipped files is what every installation changes: addresses, ports, names, the certificate.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from deploy.local.home import is_free
from deploy.local.spawn import end, last_lines, spawn, wait_until
from tests.support.ports import free_port
from tests.support.worker import ROOT

SHIPPED = ROOT / "deploy" / "proxy"
START_SECONDS = 10.0
NGINX_DIRECTIVES = "daemon off; pid nginx.pid;"
SYSTEM_PROGRAMS = os.pathsep.join(("/usr/sbin", "/usr/local/sbin"))


def program(name: str) -> str:
    """Its path; installed where it is missing and we may, else the test is skipped."""
    path = os.pathsep.join((os.environ["PATH"], SYSTEM_PROGRAMS))
    if shutil.which(name, path=path) is None and os.geteuid() == 0 and shutil.which("apt-get"):
        env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["apt-get", "update", "-q"], ["apt-get", "install", "-y", "-q", name]):
            subprocess.run(command, env=env, capture_output=True, check=False, stdin=subprocess.DEVNULL)
    found = shutil.which(name, path=path)
    if found is None:
        pytest.skip(f"{name} is not installed: apt-get install {name}")
    return found


class LoadBalancer:
    """Of the events surface. `gateways`: the port of each, and its operations port."""

    def __init__(self, name: str, folder: Path, certificate: Path, gateways: Sequence[tuple[int, int]]) -> None:
        self._path = program(name)
        self.port = free_port()
        self.log = folder / f"{name}.log"
        self._folder = folder
        configuration = folder / f"{name}.conf"
        shipped = {"nginx": SHIPPED / "nginx.conf", "haproxy": SHIPPED / "haproxy.cfg"}[name].read_text()
        configuration.write_text(substituted(shipped, self.port, certificate, gateways))
        self._command = {
            "nginx": (self._path, "-p", str(folder), "-c", str(configuration), "-e", "stderr", "-g", NGINX_DIRECTIVES),
            "haproxy": (self._path, "-db", "-f", str(configuration)),
        }[name]

    def start(self) -> None:
        self._process = spawn(self._command, log=self.log, cwd=self._folder)
        if not wait_until(lambda: not is_free("127.0.0.1", self.port), START_SECONDS):
            raise AssertionError("\n".join(last_lines(self.log, 20)))

    def stop(self) -> None:
        end(self._process, 5.0)


def substituted(shipped: str, port: int, certificate: Path, gateways: Sequence[tuple[int, int]]) -> str:
    """A shipped configuration with another port, certificate and other gateways."""
    text = re.sub(r"(listen |bind :)443\b", rf"\g<1>{port}", shipped)
    text = re.sub(r"/etc/\w+/atlas\.\w+", str(certificate), text).replace(" check port 9100 ", " check ")
    for number, (events_port, operations_port) in enumerate(gateways, 11):
        checked = f" port {operations_port}" if "haproxy" in shipped.lower() else ""
        text = text.replace(f"10.0.0.{number}:8080", f"127.0.0.1:{events_port}{checked}")
    return text
