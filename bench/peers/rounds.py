"""The run: each gateway takes its turn in each round, and does all parts in it; then the whole machine with keys."""

import os
import sys
import time
import urllib.error
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from confluent_kafka import KafkaException

from bench.peers.builds import CannotBuild, benthos_program, last_line, older_tree
from bench.peers.events import BATCHES, HALF, KEYED, NDJSON, PARTS, REST, SINGLE, Shape
from bench.peers.gateways import (
    ATLAS,
    BARE,
    BEFORE,
    BENTHOS,
    AtlasGateway,
    Gateway,
    NotServing,
    a_broker,
    bare,
    benthos,
    whole_atlas,
)
from bench.peers.measuring import Running, at_half, at_rest, loaded
from bench.peers.table import Found, Measurement
from bench.peers.wrk import WrkFailed
from bench.system import ROOT, SystemFailed

FAILURES = (NotServing, SystemFailed, WrkFailed, KafkaException, psutil.Error, urllib.error.URLError, ValueError)
"""Of one gateway's turn: the others go on, and its rows say so."""
LOADED: dict[str, Shape] = {shape.name: shape for shape in (SINGLE, *BATCHES, NDJSON)}


@dataclass(frozen=True)
class Plan:
    """`requests`: those of the NDJSON part. `parts`: names of events.PARTS."""

    base: str
    rounds: int
    seconds: int
    requests: int
    rest_seconds: int
    parts: tuple[str, ...]


@dataclass(frozen=True)
class Tree:
    """A source tree of Atlas, and the Python that runs it."""

    name: str
    root: Path
    python: str


@dataclass
class Findings:
    """Mutable: what was measured so far, in the order of the parts and of the gateways."""

    found: dict[str, dict[str, list[Measurement]]] = field(default_factory=dict)

    def add(self, part: str, gateway: str, measurement: Measurement) -> None:
        self.found.setdefault(part, {}).setdefault(gateway, []).append(measurement)

    def ordered(self) -> Found:
        names = (ATLAS, BEFORE, BARE, BENTHOS)
        return {
            part: {name: self.found[part][name] for name in names if name in self.found[part]}
            for part in PARTS
            if part in self.found
        }


def measure(plan: Plan, home: Path) -> Found:
    findings = Findings()
    trees = trees_of(plan, home)
    alone = [part for part in plan.parts if part != KEYED.name]
    if alone:
        with gateways_of(trees, home) as gateways:
            for number in range(plan.rounds):
                turn = number % len(gateways)  # none is always the one after the same other
                for gateway in [*gateways[turn:], *gateways[:turn]]:
                    say(f"round {number + 1} of {plan.rounds}: {gateway.name}")
                    take_turn(gateway, plan, alone, findings)
    if KEYED.name in plan.parts:
        for number in range(plan.rounds):
            for tree in trees if number % 2 == 0 else reversed(trees):
                say(f"round {number + 1} of {plan.rounds}, with keys on the whole machine: {tree.name}")
                with_keys(tree, plan, home / f"whole-{number}-{tree.name.replace(' ', '-')}", findings)
    return findings.ordered()


def trees_of(plan: Plan, home: Path) -> list[Tree]:
    trees = [Tree(ATLAS, ROOT, sys.executable)]
    if not plan.base:
        say("BASE is empty, so no older commit is measured")
        return trees
    try:
        python = older_tree(plan.base, home / "base")
    except CannotBuild as reason:
        say(f"the older commit is left out: {reason}")
        return trees
    return [*trees, Tree(BEFORE, home / "base", python)]


@contextmanager
def gateways_of(trees: list[Tree], home: Path) -> Iterator[list[Gateway]]:
    """Their brokers serve within the block."""
    gateways: list[Gateway] = []
    with ExitStack() as stack:
        for tree in trees:
            say(f"setting up: {tree.name}")
            own = home / tree.name.replace(" ", "-")
            broker = stack.enter_context(a_broker(own))
            gateways.append(AtlasGateway(tree.name, own, broker, tree.root, tree.python))
        broker = stack.enter_context(a_broker(home / "peers"))
        gateways.append(bare(home, broker))
        try:
            gateways.append(benthos(home, broker, benthos_program()))
        except CannotBuild as reason:
            say(f"Benthos is left out: {reason}")
        yield gateways


def take_turn(gateway: Gateway, plan: Plan, parts: list[str], findings: Findings) -> None:
    """All parts of one round, with a gateway that starts for them."""
    left = [part for part in parts if part != REST or isinstance(gateway, AtlasGateway)]
    try:
        with gateway.running() as running:
            single: Measurement | None = None
            while left:
                measurement = _part(left[0], running, plan, single)
                single = measurement if left[0] == SINGLE.name else single
                findings.add(left.pop(0), gateway.name, measurement)
    except FAILURES as failure:
        for part in left:
            findings.add(part, gateway.name, _failed(failure))


def _part(part: str, running: Running, plan: Plan, single: Measurement | None) -> Measurement:
    if part == REST:
        return at_rest(running, plan.rest_seconds)
    if part == HALF:
        if single is None or single.faults:
            return Measurement(faults=("there is no maximum rate to take half of",))
        return at_half(running, single.figures["requests_per_second"] / 2, plan.seconds)
    return loaded(running, LOADED[part], plan.seconds, plan.requests if part == NDJSON.name else 0)


def with_keys(tree: Tree, plan: Plan, home: Path, findings: Findings) -> None:
    try:
        with whole_atlas(home, tree.root, tree.python) as running:
            measurement = loaded(running, KEYED, plan.seconds)
    except FAILURES as failure:
        measurement = _failed(failure)
    findings.add(KEYED.name, tree.name, measurement)


def _failed(failure: BaseException) -> Measurement:
    return Measurement(faults=(f"{type(failure).__name__}: {last_line(str(failure))}",))


def say(what: str) -> None:
    load = os.getloadavg()[0]
    print(f"bench-peers: {time.strftime('%H:%M:%S')} {what} (load {load:.1f})", file=sys.stderr, flush=True)
