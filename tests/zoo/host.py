"""A host application: loads each specimen it is asked for and calls it, with a well-behaved exporter beside it.

Usage: host.py REQUEST ANSWER, both JSON files. Standard output and standard error are the specimens' own.
"""

from __future__ import annotations

import faulthandler
import gc
import json
import sys
from pathlib import Path

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from exporter_core import Context, ExporterRegistry

PATIENCE = 30.0  # seconds; only a failing run takes them


def batch():
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    provider.get_meter("zoo").create_counter("visitors").add(1, {"gate": "north"})
    return reader.get_metrics_data()


def outcome(function, *arguments, **options):
    """What came of a call, in one line; whatever it raised is taken for its outcome."""
    try:
        result = function(*arguments, **options)
    except BaseException as error:  # noqa: BLE001 - a specimen's would end this process
        return f"{type(error).__name__}: {error}", None
    return "ok", result


def visit(registry, name, plan, metrics):
    """What selecting the specimen says, and each call of it until selecting fails."""
    options = {key: plan[key] for key in ("config", "timeout") if key in plan}
    said, guard = outcome(registry.load, name, **options)
    heard = [said]
    if guard is not None:
        modules = [module for key, module in sys.modules.items() if key.startswith("zoo_")]
        for module in modules:
            module.guard = guard  # for those who call it from inside
        for operation, seconds in plan["calls"]:
            context = Context.with_timeout(seconds)
            arguments = (context, metrics) if operation == "export" else (context,)
            heard.append(outcome(getattr(guard, operation), *arguments)[0])
        if guard.stats().last_error is not None:
            heard.append(guard.stats().last_error)  # which is to tell no secret either
    return heard


def main(request, answer):
    registry, metrics, heard = ExporterRegistry(), batch(), {}
    good = registry.load("good", timeout=PATIENCE)
    for visits, (name, plan) in enumerate(json.loads(Path(request).read_text()).items(), 1):
        heard[name] = visit(registry, name, plan, metrics)
        good.export(Context.with_timeout(PATIENCE), batch())
        good.force_flush(Context.with_timeout(PATIENCE))
        assert good.stats().exports_ok == visits
    gc.collect()  # what specimens leave behind may do harm when it is collected
    good.shutdown(Context.with_timeout(PATIENCE))
    assert good.stats().exports_failed == 0
    Path(answer).write_text(json.dumps(heard))


if __name__ == "__main__":
    faulthandler.dump_traceback_later(50, exit=True)  # says where it hangs, before it is given up
    main(*sys.argv[1:])
