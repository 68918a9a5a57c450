"""What a plugin does to the process as a whole: what the host and its other exporters survive, and, where
docs/guard.md says that no guard in the process can help, that it is so."""

from __future__ import annotations

import json

import pytest

PIPELINE = """
import json, sys
from exporter_core import Pipeline
import logging
logging.basicConfig(stream=sys.stderr)
with Pipeline.from_config(json.loads(sys.argv[1])) as pipeline:
    counter = pipeline.meter_provider.get_meter("zoo").create_counter("visitors")
    rounds = []
    for _ in range(int(sys.argv[3])):
        counter.add(1, {"gate": "north"})
        report = pipeline.flush(float(sys.argv[2]))
        rounds.append({reader.name: reader.error or "ok" for reader in report.readers})
    report = pipeline.shutdown(float(sys.argv[2]))
    rounds.append({reader.name: reader.error or "ok" for reader in report.readers})
import zoo_base
print(json.dumps([rounds, zoo_base.counted, zoo_base.seen]))
"""

# A second well-behaved exporter, which counts.
COUNTING = """
import zoo_base
class Plugin(Good):
    def export(self, context, metrics):
        point = metrics.resource_metrics[0].scope_metrics[0].metrics[0].data.data_points[0]
        zoo_base.counted.append([point.value, dict(point.attributes)])
"""

DAMAGE = """
import zoo_base
class Plugin(Good):
    def export(self, context, metrics):
        point = metrics.resource_metrics[0].scope_metrics[0].metrics[0].data.data_points[0]
        zoo_base.seen.append(dict(point.attributes))
        point.attributes["changed"] = "yes"
"""

FOR_EVER = "        import threading; threading.Event().wait()\n"


def config(*names, **sections):
    readers = [{"periodic": {"exporter": {name: {}}, "interval": 3_600_000, "timeout": 400}} for name in names]
    return {"file_format": "1.0", "meter_provider": {"readers": readers}, **sections}


@pytest.fixture
def deliver(site, run):
    """Flush and shut down a pipeline of these exporters and a counting one.

    The reports, what the counting one was handed, and what others saw.
    """

    def deliver(*names, timeout=30.0, flushes=2, **sections):
        site.specimen("counting", COUNTING)
        done = run("-c", PIPELINE, json.dumps(config(*names, "counting", **sections)), str(timeout), str(flushes))
        return json.loads(done.stdout.splitlines()[-1])

    return deliver


HOSTILE = {
    "raises": "    def export(self, context, metrics): raise OSError(SECRET)\n",
    "interrupts": "    def export(self, context, metrics): raise KeyboardInterrupt\n",
    "exits": "    async def export(self, context, metrics): raise SystemExit\n",
    "unprintable": "    def export(self, context, metrics): raise Unprintable\n",
    "returns_true": "    def export(self, context, metrics): return True\n",
    "flush_exits": "    def force_flush(self, context): raise SystemExit\n",
}
SHUTDOWNS = {
    "shutdown_exits": "    def shutdown(self, context): raise SystemExit\n",
    "shutdown_raises": "    def shutdown(self, context): raise Unprintable\n",
}
HANGING = {
    "hangs": f"    def export(self, context, metrics):\n{FOR_EVER}",
    "blocks_its_loop": f"    async def export(self, context, metrics):\n{FOR_EVER}",
    "flush_hangs": f"    def force_flush(self, context):\n{FOR_EVER}",
    "shutdown_hangs": f"    def shutdown(self, context):\n{FOR_EVER}",
}
COUNTED = [[1, {"gate": "north"}], [2, {"gate": "north"}], [2, {"gate": "north"}]]


def failed(row):
    """The exporters that a report names as failed."""
    return {reader.partition(":")[2] for reader, said in row.items() if said != "ok"}


def test_a_pipeline_delivers_through_the_good_exporter_beside_all_that_raise(site, deliver):
    site.specimens({name: f"class Plugin(Good):\n{body}" for name, body in {**HOSTILE, **SHUTDOWNS}.items()})
    rounds, counted, _ = deliver(*HOSTILE, *SHUTDOWNS)
    assert [failed(row) for row in rounds] == [{*HOSTILE}, {*HOSTILE}, {*HOSTILE, *SHUTDOWNS} - {"flush_exits"}]
    assert counted == COUNTED


def test_a_pipeline_delivers_through_the_good_exporter_beside_all_that_hang_and_ends(site, deliver):
    site.specimens({name: f"class Plugin(Good):\n{body}" for name, body in HANGING.items()})
    rounds, counted, _ = deliver(*HANGING, timeout=3.0, flushes=1)
    assert failed(rounds[0]) == {"hangs", "blocks_its_loop", "flush_hangs"}
    assert {"hangs", "blocks_its_loop", "shutdown_hangs"} <= failed(rounds[1]) <= {*HANGING}
    assert [value for value, _ in counted] == [1, 1]


def test_an_exporter_that_changes_attributes_changes_what_it_is_handed_from_then_on_as_documented(site, deliver):
    site.specimen("damages", DAMAGE)
    rounds, counted, seen = deliver("damages", exporter_core={"share_collection": False})
    assert {said for row in rounds for said in row.values()} == {"ok"}
    assert seen == [{"gate": "north"}, *[{"gate": "north", "changed": "yes"}] * 2]
    assert counted == COUNTED


def test_an_exporter_that_changes_attributes_changes_them_for_those_that_share_its_collection_as_documented(
    site, deliver
):
    site.specimen("damages", DAMAGE)
    rounds, counted, _ = deliver("damages")
    assert {said for row in rounds for said in row.values()} == {"ok"}
    assert counted[1:] == [[2, {"gate": "north", "changed": "yes"}]] * 2


def test_an_exporter_that_is_handed_copies_cannot(site, deliver):
    site.specimen("damages", DAMAGE)
    rounds, counted, seen = deliver("damages", exporter_core={"exporters": {"damages": {"copy": True}}})
    assert {said for row in rounds for said in row.values()} == {"ok"}
    assert seen == [{"gate": "north"}] * 3
    assert counted == COUNTED


@pytest.mark.parametrize("name", ["exits", "hangs_while_built", "prints_and_raises"])
def test_a_pipeline_with_an_exporter_that_cannot_be_built_says_so_and_leaves_nothing(site, run, name):
    bodies = {
        "exits": "    def __init__(self, config): raise SystemExit(SECRET)\n",
        "hangs_while_built": f"    def __init__(self, config):\n{FOR_EVER}",
        "prints_and_raises": "    def __init__(self, config): print('hello'); raise OSError(SECRET)\n",
    }
    site.specimen(name, f"class Plugin(Good):\n{bodies[name]}")
    program = """
import json, sys, threading
import exporter_core.registry
from exporter_core import Pipeline, SetupError
load = exporter_core.ExporterRegistry.load
exporter_core.ExporterRegistry.load = lambda *args, **more: load(*args, **{**more, "timeout": 2.0})
try:
    Pipeline.from_config(json.loads(sys.argv[1]))
except SetupError as error:
    print(f"{type(error).__name__}: {error}")
"""
    done = run("-c", program, json.dumps(config("good", name)))
    assert f"PluginLoadError: exporter {name!r} (zoo-{name} 6.6)" in done.stdout
    assert len(done.stdout.splitlines()) == (2 if name == "prints_and_raises" else 1)
    assert done.stderr == ""


LOAD = """
import sys
from exporter_core import Context, load_exporter
exporter = load_exporter(sys.argv[1])
good = load_exporter("good")
"""


def test_what_an_import_changes_for_the_whole_process_stays_changed(site, run, tmp_path):
    site.specimen(
        "tidies_up",
        "import logging, os, warnings\nos.chdir('/')\nos.environ['ZOO'] = 'yes'\n"
        "logging.basicConfig(level=logging.DEBUG, force=True)\nwarnings.simplefilter('ignore')\n"
        "class Plugin(Good): pass\n",
    )
    program = f"{LOAD}\nimport logging, os\nprint(os.getcwd(), os.environ['ZOO'], logging.getLogger().level)\n"
    program += "for one in (exporter, good):\n    with one: pass\n"
    assert run("-c", program, "tidies_up").stdout.split() == ["/", "yes", "10"]


def test_a_finaliser_that_raises_or_an_exit_handler_that_raises_harms_nobody(site, run):
    site.specimen(
        "raises_at_the_end",
        "import atexit\ndef raising(): raise SystemExit(0)\natexit.register(raising)\n"
        "class Plugin(Good):\n    def __del__(self): raise OSError('from the finaliser')\n",
    )
    program = f"{LOAD}\nimport gc\nwith exporter: pass\ndel exporter\ngc.collect()\n"
    program += "with good: good.force_flush(Context.with_timeout(30))\nprint(good.state)"
    done = run("-c", program, "raises_at_the_end")
    assert done.stdout.split() == ["shut_down"]
    assert "from the finaliser" in done.stderr


THREAD = """
import os, threading
os.mkfifo("gate")
def wait():
    open("gate").read()  # until the main program, whose last act but one is to open it
    threading.main_thread().join()
    print("thread over", flush=True)
threading.Thread(target=wait, daemon=False).start()
class Plugin(Good): pass
"""


def test_a_thread_of_a_plugins_own_holds_up_the_exit_if_it_is_made_to_as_documented(site, run):
    site.specimen("holds_on", THREAD)
    program = f"{LOAD}\nwith exporter, good: pass\nopen('gate', 'w').close()\nprint('main over', flush=True)"
    assert run("-c", program, "holds_on").stdout.splitlines() == ["main over", "thread over"]


def test_threads_of_a_plugin_are_daemons_unless_it_says_otherwise(site, run):
    site.specimen(
        "daemons",
        f"import threading\ndef wait():\n    {FOR_EVER.strip()}\n"
        "class Plugin(Good):\n    def export(self, context, metrics): threading.Thread(target=wait).start()\n"
        "threading.Thread(target=wait).start()\n",
    )
    program = f"{LOAD}\nfrom opentelemetry.sdk.metrics.export import MetricsData\n"
    program += "with exporter, good: exporter.export(Context.with_timeout(30), MetricsData([]))\nprint('over')"
    assert run("-c", program, "daemons").stdout == "over\n"


def test_an_import_that_ends_the_process_ends_it_when_selected_as_documented(site, run):
    site.specimen("leaves", "import os; os._exit(0)")
    assert run("-c", f"{LOAD}\nprint('never')", "leaves").stdout == ""


def test_an_exporter_that_prints_what_it_should_not_prints_it_as_documented(site, run):
    site.specimen("prints", "class Plugin(Good):\n    def export(self, context, metrics): print('printed')\n")
    program = f"{LOAD}\nfrom opentelemetry.sdk.metrics.export import MetricsData\n"
    program += "with exporter, good: exporter.export(Context.with_timeout(30), MetricsData([]))"
    assert run("-c", program, "prints").stdout == "printed\n"
