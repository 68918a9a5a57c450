"""The table, rendered and on a real terminal."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import textwrap

import pytest
from exporter_core_console.table import table
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from exporter_core import Context, ContextCancelledError
from exporter_core.authoring import Style

pytestmark = pytest.mark.usefixtures("warm_python")

PLAIN = Style(color=False, unicode=True)


def rendered(metrics, width=120, style=PLAIN):
    return table(Context.background(), metrics, width=width, style=style)


def test_a_wide_table_has_a_row_for_each_point(shop):
    assert rendered(shop, width=130) == textwrap.dedent("""\
        time      2025-11-23 10:01:00 UTC
        resource  service.name=checkout host.name=web-1
        scope     shop.http 1.2.0
        metric                 kind              unit        attributes                 value
        ───────────────────────────────────────────────────────────────────────────────────────────────────
        http.server.requests   counter, delta    {request}   http.request.method=GET    1,234,567
                                                             http.request.method=POST          56
        queue.length           up-down counter                                          -3
        cpu.utilization        gauge             1           cpu=0                      0.123457
        http.server.duration   histogram         ms          http.route=/cart           count 9  sum 512.5
                                                                                        min 6  ▂█▂  max 150
        http.client.duration   exp. histogram    s           server.address=db          count 6  sum 3.5
                                                                                        min -7  ▃▃▃█  max 2

        """)


def test_a_narrow_table_is_a_list(shop):
    assert rendered(shop, width=60) == textwrap.dedent("""\
        time      2025-11-23 10:01:00 UTC
        resource  service.name=checkout host.name=web-1
        scope     shop.http 1.2.0
        http.server.requests  counter, delta  {request}
          http.request.method=GET   1,234,567
          http.request.method=POST         56
        queue.length  up-down counter
          -3
        cpu.utilization  gauge  1
          cpu=0  0.123457
        http.server.duration  histogram  ms
          http.route=/cart  count 9  sum 512.5  min 6  ▂█▂  max 150
        http.client.duration  exp. histogram  s
          server.address=db  count 6  sum 3.5  min -7  ▃▃▃█  max 2

        """)


@pytest.mark.parametrize("width", [1, 7, 20, 40, 80, 100, 130, 300])
def test_no_line_is_wider_than_the_terminal(shop, width):
    assert max(map(len, rendered(shop, width=width).splitlines())) <= width


@pytest.mark.parametrize("width", [60, 200])
def test_everything_is_shown_at_every_width(shop, width):
    text = rendered(shop, width=width)
    for metric in shop.resource_metrics[0].scope_metrics[0].metrics:
        assert metric.name in text
    for part in ("checkout", "web-1", "shop.http 1.2.0", "1,234,567", "56", "-3", "0.123457", "512.5", "150"):
        assert part in text


def test_where_unicode_cannot_be_shown_the_table_is_ascii(shop):
    for width in (60, 130):
        text = rendered(shop, width=width, style=Style(color=False, unicode=False))
        assert text.isascii()
        assert "min 6  -@-  max 150" in text


def test_a_long_table_is_one_table(batch):
    points = [NumberDataPoint({"cpu": number}, 1, 2, number) for number in range(500)]
    lines = rendered(batch(Metric("m", "", "1", Gauge(points)))).splitlines()
    assert sum("metric" in line for line in lines) == 1
    rows = [line for line in lines if "cpu=" in line]
    assert [int(line.split()[-1]) for line in rows] == list(range(500))
    assert len({line.rindex(" ") - len(line) + len(line.split()[-1]) for line in rows}) == 1


def test_an_empty_histogram_shows_its_count_and_sum_alone(batch):
    point = HistogramDataPoint({}, 1, 2, 0, 0, [0, 0], [1], float("inf"), float("-inf"))
    text = rendered(batch(Metric("h", "", "", Histogram([point], AggregationTemporality.CUMULATIVE))))
    assert "count 0  sum 0" in text
    assert "Infinity" not in text


def test_a_metric_without_points_and_a_scope_without_metrics_are_left_out(batch):
    assert rendered(batch(Metric("m", "", "", Gauge([])))) == ""
    assert rendered(batch()) == ""
    assert rendered(MetricsData([])) == ""


def test_what_has_no_name_and_no_attributes_says_so(batch):
    text = rendered(batch(("m", 1, None), resource=Resource({}), scope=InstrumentationScope("")))
    assert "resource  (no attributes)\n" in text
    assert "scope     (no name)\n" in text


def test_markup_and_control_sequences_in_the_data_are_shown_not_obeyed(batch):
    text = rendered(batch(("[red]m[/red]", 1, {"a": "\x1b[31m", "b": ":smile: [bold]x[/]"})))
    assert "[red]m[/red]" in text
    assert r"\x1b[31m" in text
    assert ":smile: [bold]x[/]" in text
    assert "\x1b" not in text


@pytest.mark.parametrize("width", [60, 120])
def test_rendering_ends_when_its_context_does(shop, width):
    context = Context.background()
    context.cancel("enough")
    with pytest.raises(ContextCancelledError, match="enough"):
        table(context, shop, width=width, style=PLAIN)


@pytest.mark.parametrize("width", [60, 120])
@pytest.mark.parametrize("reads", [500, 2500])
def test_rendering_ends_in_the_middle_of_a_metric_too(width, reads):
    context = Context.background()
    seen = []

    class Attributes(dict):
        def items(self):
            seen.append(self)
            if len(seen) == reads:
                context.cancel("enough")
            return super().items()

    points = [NumberDataPoint(Attributes(n=n), None, 1, n) for n in range(5000)]
    scope = ScopeMetrics(None, [Metric("many", "", "", Gauge(points))], "")
    metrics = MetricsData([ResourceMetrics(Resource({}), [scope], "")])
    with pytest.raises(ContextCancelledError, match="enough"):
        table(context, metrics, width=width, style=PLAIN)
    assert len(seen) < reads + 300


def test_a_scope_that_is_none_and_a_number_longer_than_python_writes_are_shown():
    points = [NumberDataPoint({}, None, 1, 10**5000)]
    scope = ScopeMetrics(None, [Metric("m", "", "", Gauge(points))], "")
    text = rendered(MetricsData([ResourceMetrics(Resource({}), [scope], "")]), width=20_000)
    assert "(no name)" in text
    assert hex(10**5000) in text


# --- on a terminal ---------------------------------------------------------------------------------------------------

PROGRAM = """
import sys
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from exporter_core import Context
from exporter_core_console import ConsoleConfig, ConsoleExporter

reader = InMemoryMetricReader()
provider = MeterProvider([reader], resource=Resource({"service.name": "checkout"}), shutdown_on_exit=False)
provider.get_meter("shop").create_counter("visits", unit="1").add(1234, {"page": "/start"})
provider.get_meter("shop").create_histogram("duration", unit="ms").record(12, {"page": "/start"})
print("before", end=" ")
ConsoleExporter(ConsoleConfig()).export(Context.with_timeout(60), reader.get_metrics_data())
print("after")
"""


def on_a_terminal(columns, **environment):
    """What the program shows on a terminal of this many columns."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    inherited = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
    environment = {**inherited, "TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8", **environment}
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=slave, stderr=subprocess.PIPE, env=environment
    ) as child:
        os.close(slave)
        parts = []
        try:
            while part := os.read(master, 65536):
                parts.append(part)
        except OSError:
            pass  # EIO: the other side has closed
        errors = child.stderr.read()
    os.close(master)
    assert (child.returncode, errors) == (0, b"")
    return b"".join(parts).decode().replace("\r\n", "\n")


@pytest.mark.parametrize("columns", [50, 120])
def test_a_terminal_gets_a_coloured_table_of_its_width_in_order_with_what_was_printed(columns):
    shown = on_a_terminal(columns)
    assert "\x1b[1;36mvisits" in shown
    text = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    assert "\x1b" not in text
    assert text.startswith("before time      ")
    assert text.endswith("\nafter\n")
    assert re.search(r"\nresource  service\.name=checkout *\nscope     shop *\n", text)
    assert re.search(r"visits +counter +1", text)
    assert re.search(r"page=/start +1,234", text)
    assert re.search(r"min 12  █  max 12", text)
    assert ("metric" in text) == (columns == 120)
    assert max(len(line) for line in text.removeprefix("before ").splitlines()) <= columns


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_a_terminal_without_colour_gets_a_plain_table(environment):
    text = on_a_terminal(120, **environment)
    assert "\x1b" not in text
    assert re.search(r"visits +counter +1 +page=/start +1,234\n", text)


def test_a_terminal_that_does_not_know_its_width_gets_eighty_columns():
    unknown, eighty = (re.sub(r"time .*\n", "", on_a_terminal(columns, NO_COLOR="1")) for columns in (0, 80))
    assert unknown == eighty


def test_columns_can_be_set_by_the_environment():
    assert "metric" in on_a_terminal(50, COLUMNS="120")
