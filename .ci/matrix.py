"""Check the metrics exporters that people install from PyPI, and write the matrix of implementations by clauses.

Each is checked raw and guarded in an environment of its own, at the version that stands here. ``docs/matrix.json`` has
every result, ``docs/matrix.html`` shows them. ``matrix.py NAME ...`` checks some again and keeps the others' results;
``matrix.py --page`` checks none, and writes the page anew.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parent.parent
ENVIRONMENTS = ROOT / ".tools" / "matrix"
RESULTS, PAGE = ROOT / "docs" / "matrix.json", ROOT / "docs" / "matrix.html"
MUTANTS = ROOT / "docs" / "mutants.json"
EVENTS = 12  # of a timeline, at most
WRONG_USAGE = 2


class Implementation(NamedTuple):
    """An exporter from PyPI, and how the checker is pointed at it."""

    name: str
    package: str
    target: str
    arguments: tuple[str, ...]
    unseen: str = ""
    """What no sink can observe of it."""


_ENDPOINT = ("--config", 'endpoint: "{endpoint}"')
_AZURE = 'success=200:{"itemsReceived": 1, "itemsAccepted": 1, "errors": []}'
_BYTES = "values: the sink finds points in the bytes by their identities alone"
_GOOGLE = "deliveries and failures: no sink speaks Google's protocol, so that its lifecycle alone is checked"

IMPLEMENTATIONS = (
    Implementation(
        "SDK console",
        "opentelemetry-sdk==1.45.2",
        "opentelemetry.sdk.metrics.export:ConsoleMetricExporter",
        ("--sink", "stdout"),
    ),
    Implementation(
        "OTLP HTTP",
        "opentelemetry-exporter-otlp-proto-http==1.45.2",
        "otlp_proto_http",
        ("--sink", "otlp_http", *_ENDPOINT),
    ),
    Implementation(
        "OTLP gRPC",
        "opentelemetry-exporter-otlp-proto-grpc==1.45.2",
        "otlp_proto_grpc",
        ("--sink", "otlp_grpc", "--config", '{endpoint: "{address}", insecure: true}'),
    ),
    Implementation(
        "OTLP JSON HTTP",
        "opentelemetry-exporter-otlp-json-http==0.66b1",
        "otlp_json_http",
        ("--sink", "otlp_http", *_ENDPOINT),
    ),
    Implementation(
        "OTLP JSON file",
        "opentelemetry-exporter-otlp-json-file==0.66b1",
        "otlp_json_file",
        ("--sink", "file", "--config", 'path: "{path}"'),
    ),
    Implementation(
        "Prometheus remote write",
        "opentelemetry-exporter-prometheus-remote-write==0.66b1",
        "opentelemetry.exporter.prometheus_remote_write:PrometheusRemoteWriteMetricsExporter",
        ("--sink", "remote_write,not_carried=*", *_ENDPOINT),
        "values: Prometheus has several samples for a point, whose identities alone are compared",
    ),
    Implementation("Logfire", "logfire==5.4.0", "matrix_subjects:logfire", ("--sink", "otlp_http", *_ENDPOINT)),
    Implementation(
        "Google Cloud Monitoring",
        "opentelemetry-exporter-gcp-monitoring==1.15.0a0",
        "matrix_subjects:google",
        ("--allow-real-backend",),
        _GOOGLE,
    ),
    Implementation(
        "Azure Monitor",
        "azure-monitor-opentelemetry-exporter==1.0.0b58",
        "matrix_subjects:azure",
        ("--sink", f"http,{_AZURE}", *_ENDPOINT),
        _BYTES,
    ),
)


def main(names: list[str]) -> None:
    """Check the implementations, and write JSON and page."""
    kept = json.loads(RESULTS.read_text())["implementations"] if RESULTS.exists() else {}
    if names == ["--page"]:
        _write(kept)
        return
    unknown = set(names) - {one.name for one in IMPLEMENTATIONS}
    if unknown:
        sys.exit(f"unknown: {', '.join(sorted(unknown))}; expected {', '.join(one.name for one in IMPLEMENTATIONS)}")
    for one in IMPLEMENTATIONS:
        if not names or one.name in names:
            _install(one)
            kept[one.name] = _check(one)
            _write({one.name: kept[one.name] for one in IMPLEMENTATIONS if one.name in kept})


def _write(found: dict[str, Any]) -> None:  # Any: JSON
    results = {
        "python": sys.version.split()[0],
        "mutants": json.loads(MUTANTS.read_text()) if MUTANTS.exists() else None,
        "implementations": found,
    }
    RESULTS.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    PAGE.write_text(page(results))
    print(f"{PAGE.relative_to(ROOT)} and {RESULTS.relative_to(ROOT)} written", flush=True)


def _install(one: Implementation) -> None:
    python = _environment(one) / "bin" / "python"
    uv = str(ROOT / ".tools" / "bin" / "uv")
    if not python.exists():
        subprocess.run([uv, "venv", "-q", "-p", sys.executable, str(_environment(one))], check=True)
    subprocess.run(
        [uv, "pip", "install", "-q", "-p", str(python), "-e", f"{ROOT}[cli,conformance]", one.package], check=True
    )


def _environment(one: Implementation) -> Path:
    return ENVIRONMENTS / one.package.replace("==", "-")


def _check(one: Implementation) -> dict[str, Any]:  # Any: JSON
    command = [str(_environment(one) / "bin" / "exporter-core"), "check", one.target, *one.arguments, "--json"]
    print(f"{one.name}: {one.package}", flush=True)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": os.environ.get("HOME", "/"),
        "PYTHONPATH": str(Path(__file__).parent),
    }
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment, timeout=1200)
    if done.returncode == WRONG_USAGE:  # there is no report
        sys.exit(f"{one.name}: {done.stderr.strip()}")
    report = json.loads(done.stdout)
    clauses = {
        clause["id"]: {
            "level": clause["level"] + "†" * clause["derived"] + "‡" * clause["hygiene"],
            "promise": clause["promise"],
            "results": {mode: _result(result) for mode, result in clause["results"].items()},
        }
        for clause in report["clauses"]
    }
    return {
        "package": one.package,
        "date": datetime.now(UTC).date().isoformat(),
        "target": one.target,
        "unseen": one.unseen,
        "seconds": report["seconds"],
        "conclusion": {mode: report["conclusion"][mode] for mode in report["modes"]},
        "clauses": clauses,
    }


def _result(result: dict[str, Any]) -> dict[str, Any]:  # Any: JSON
    kept = {name: result.get(name) for name in ("verdict", "expected", "seen", "observations", "canary", "reproduce")}
    timeline = result.get("timeline") or []
    if result["verdict"] != "PASS":
        kept["timeline"] = [
            f"{1000 * (line['seconds'] or 0):.1f} ms {line['kind']}: {line['text']}" for line in timeline[-EVENTS:]
        ]
    return {name: value for name, value in kept.items() if value}


_SHORT = {"NOT_APPLICABLE": "n/a", "UNOBSERVABLE": "unobserved", "INEXPRESSIBLE": "no channel", "INCONCLUSIVE": "open"}
_STYLE = """
:root{color-scheme:light dark;--line:#8884;--pass:#1a7f37;--fail:#cf222e;--dim:#7a828b}
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:100rem;padding:0 1rem}
table{border-collapse:collapse}
th,td{border-bottom:1px solid var(--line);padding:.15rem .5rem;text-align:left;white-space:nowrap}
thead th{position:sticky;top:0;background:Canvas;vertical-align:bottom}
td.promise{white-space:normal;min-width:18rem}
a{color:inherit}
.PASS a{color:var(--pass);text-decoration:none}
.FAIL{background:#cf222e22}
.FAIL a{color:var(--fail);font-weight:600}
.other a{color:var(--dim)}
details{border-bottom:1px solid var(--line);padding:.2rem 0}
details:target{outline:2px solid #0969da}
code,pre{font:13px/1.4 ui-monospace,monospace;white-space:pre-wrap;overflow-wrap:anywhere}
.wide{overflow-x:auto}
"""
_SCRIPT = """
function show(){const one=document.getElementById(decodeURIComponent(location.hash.slice(1)));
if(one&&one.tagName==="DETAILS"){one.open=true;one.scrollIntoView({block:"center"})}}
addEventListener("hashchange",show);show();
"""


def page(results: dict[str, Any]) -> str:  # Any: JSON
    """The page: a matrix whose cells lead to their evidence."""
    found = results["implementations"]
    clauses = next(iter(found.values()))["clauses"]
    heads = "".join(
        f'<th colspan="2">{escape(name)}<br><small>{escape(one["package"])}</small></th>' for name, one in found.items()
    )
    modes = "<th>raw</th><th>guarded</th>" * len(found)
    rows = "".join(
        f'<tr><th>{identifier}</th><td>{escape(about["level"])}</td><td class="promise">{escape(about["promise"])}</td>'
        + "".join(_cell(name, one, identifier, mode) for name, one in found.items() for mode in ("raw", "guarded"))
        + "</tr>"
        for identifier, about in clauses.items()
    )
    evidence = "".join(_evidence(name, one) for name, one in found.items())
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Exporters by clauses</title>'
        f"<style>{_STYLE}</style><h1>Metrics exporters by the clauses that they keep</h1>"
        f"<p>Checked with Python {results['python']}, each in an environment of its own, raw and "
        "behind the guard. Every cell leads to its evidence and to the command that reproduces it. "
        "<code>make matrix</code> writes this page.</p>"
        f"{_mutants(results['mutants'])}"
        f'<div class="wide"><table><thead><tr><th colspan="3"></th>{heads}</tr>'
        f'<tr><th colspan="3"></th>{modes}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>{evidence}<script>{_SCRIPT}</script></html>\n"
    )


def _cell(name: str, one: dict[str, Any], identifier: str, mode: str) -> str:
    result = one["clauses"].get(identifier, {}).get("results", {}).get(mode)
    if result is None:
        return "<td></td>"
    verdict = result["verdict"]
    kind = verdict if verdict in ("PASS", "FAIL") else "other"
    return (
        f'<td class="{kind}"><a href="#{escape(_anchor(name, identifier, mode))}" '
        f'title="{escape(result.get("seen", ""))}">'
        f"{_SHORT.get(verdict, verdict)}</a></td>"
    )


def _anchor(name: str, identifier: str, mode: str) -> str:
    return f"{name.replace(' ', '-')}-{identifier}-{mode}"


def _evidence(name: str, one: dict[str, Any]) -> str:
    said = "".join(f"<li>{mode}: {escape(text)}</li>" for mode, text in one["conclusion"].items())
    unseen = f"<p>Not observed: {escape(one['unseen'])}.</p>" if one["unseen"] else ""
    parts = [
        f"<h2>{escape(name)}</h2><p><code>{escape(one['package'])}</code>, {one['seconds']:.0f} s, {one['date']}</p>",
        f"<ul>{said}</ul>{unseen}",
    ]
    for identifier, about in one["clauses"].items():
        for mode, result in about["results"].items():
            lines = [f"{key}: {result[key]}" for key in ("expected", "seen", "canary") if result.get(key)]
            lines += result.get("observations", []) + result.get("timeline", [])
            lines.append(f"reproduce: {result.get('reproduce', '')}")
            parts.append(
                f'<details id="{escape(_anchor(name, identifier, mode))}"><summary>{identifier} {mode}: '
                f"{result['verdict']}</summary><p>{escape(about['promise'])}</p><pre>{escape(chr(10).join(lines))}</pre></details>"
            )
    return "".join(parts)


def _mutants(found: dict[str, Any] | None) -> str:
    if found is None:
        return ""
    survivors = "".join(f"<li><code>{escape(one)}</code></li>" for one in found["survivors"]) or "<li>none</li>"
    return (
        f"<p>The checker is checked too: of {found['mutants']} exporters with one fault each it fails "
        f"{found['killed']} ({100 * found['killed'] / found['mutants']:.1f} %). "
        f"Clauses without a mutant that they alone kill: {', '.join(found['without']) or 'none'}. "
        f"Mutants that survive:</p><ul>{survivors}</ul>"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
