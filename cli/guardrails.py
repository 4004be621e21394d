"""`atlas guardrails`: a changed policy tried on what was, before it is switched on."""

import asyncio
import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.environment import found_environment
from cli.terminal import echo
from domain.guardrails.prices import add_prices
from operations import clock
from operations.settings import Settings, SettingsInvalid

if TYPE_CHECKING:
    from processors.guardrails.whatif import LayerResult, Policies, Result
    from schemas.guardrail_policy import GuardrailPolicy

UNITS_MS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}
NANO_PER_USD = 1_000_000_000
CONTROL_SECONDS = 30.0


@click.group()
def guardrails() -> None:
    """Look at guardrails."""


@guardrails.command()
@click.option("--policy", "file", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=True)
@click.option("--last", default="24h", show_default=True, help="How far back: 90m, 24h, 7d.")
@click.option("--workspace", default=None, help="Of one workspace alone.")
def whatif(file: Path, last: str, workspace: str | None) -> None:
    """Run a policy (YAML or JSON, as PUT /api/guardrails/policy takes it) over the log and print what it would have
    blocked and saved, beside what the present policies would have.
    """
    from processors.guardrails.whatif import LogUnreadable, compare, telemetry, warm_up_ms

    new, span_ms = _policy(file), _span_ms(last)
    try:
        settings = Settings.from_env(found_environment())
        add_prices(settings.prices)
        since_ms = clock.now_ms() - span_ms
        policies = asyncio.run(_present_policies(settings))
        records = telemetry(settings.kafka, warm_up_ms(since_ms), workspace)
        before, after = compare(records, policies, new, since_ms)
    except (SettingsInvalid, LogUnreadable) as failed:
        raise click.ClickException(str(failed)) from failed
    _show(before, after, last)


def _policy(file: Path) -> "GuardrailPolicy":
    import msgspec
    import yaml

    from schemas.guardrail_policy import GuardrailPolicy

    try:
        return msgspec.convert(yaml.safe_load(file.read_text(encoding="utf-8")) or {}, GuardrailPolicy)
    except (msgspec.ValidationError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise click.ClickException(f"{file} is no policy: {error}") from error


def _span_ms(last: str) -> int:
    match = re.fullmatch(r"([1-9][0-9]{0,5})([mhd])", last)
    if match is None:
        raise click.ClickException(f"--last is a number with m, h or d behind it (24h), not {last!r}")
    return int(match[1]) * UNITS_MS[match[2]]


async def _present_policies(settings: Settings) -> "Policies":
    from operations.control_reader import present_view

    view = await present_view(settings.kafka, CONTROL_SECONDS)
    if view is None:
        raise click.ClickException(f"no broker answers at {settings.kafka}")
    return {name: entity.policy for name, entity in view.policies.items()}


def _show(before: "Result", after: "Result", last: str) -> None:
    from processors.guardrails.whatif import rows_of

    echo(f"the last {last}: {after.calls} calls, {_usd(after.cost_nano)} USD")
    heads = ("trips", "warnings", "blocked", "saved USD")
    columns = "".join(f"{head:>11}" for head in heads)
    echo(f"{'':<24}{'present policy':>44}{'this policy':>44}")
    echo(f"{'layer':<24}{columns}{columns}")
    for name, was, would in rows_of(before, after):
        echo(f"{name:<24}{_cells(was)}{_cells(would)}")
    blocked, saved = after.blocked - before.blocked, after.saved_nano - before.saved_nano
    echo(f"this policy would have blocked {blocked:+d} calls and saved {saved / NANO_PER_USD:+.2f} USD")


def _cells(result: "LayerResult") -> str:
    return f"{result.trips:>11}{result.warnings:>11}{result.blocked:>11}{_usd(result.saved_nano):>11}"


def _usd(nano: int) -> str:
    return f"{nano / NANO_PER_USD:.2f}"


COMMANDS = (guardrails,)
