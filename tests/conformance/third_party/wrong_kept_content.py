"""Wrong exporters in what they write."""

from __future__ import annotations

import functools
import json
import time

from third_party.local_encoder import LineEncoder
from third_party.right_kept_files import FileExporter


def with_enc(cls):
    return type(cls.__name__, (FileExporter,), {"enc": cls.Enc(), "__doc__": cls.__doc__, "__module__": __name__})


@with_enc
class BoolAsInt:
    """Asks for integers before booleans: attributes that are True or False go as integers."""

    class Enc(LineEncoder):
        def val(self, v):
            if isinstance(v, int):
                return {"intValue": str(int(v))}
            return super().val(v)


@with_enc
class NanIsNothing:
    """Leaves the value of NaN points out, since JSON has none."""

    class Enc(LineEncoder):
        def num(self, v):
            return {} if v != v else super().num(v)  # noqa: PLR0124


@with_enc
class RoundsSums:
    """Rounds a histogram's sum to six digits, so that lines are shorter."""

    class Enc(LineEncoder):
        def hist(self, p):
            out = super().hist(p)
            if isinstance(out.get("sum"), float):
                out["sum"] = round(out["sum"], 6)
            return out


@with_enc
class ScopeUrlOfResource:
    """Writes the resource's schema URL for the scope's too."""

    class Enc(LineEncoder):
        def rm(self, r):
            out = super().rm(r)
            for s in out["scopeMetrics"]:
                s["schemaUrl"] = out["schemaUrl"]
            return out


@with_enc
class ShortIds:
    """Formats trace and span ids with :x, without leading zeros."""

    class Enc(LineEncoder):
        def exemplar(self, e):
            out = super().exemplar(e)
            if e.span_id is not None:
                out["spanId"] = f"{e.span_id:x}"
            if e.trace_id is not None:
                out["traceId"] = f"{e.trace_id:x}"
            return out


@with_enc
class NoZeroMin:
    """Writes min, max and sum only where they are truthy, so that 0.0 is lost."""

    class Enc(LineEncoder):
        def hist(self, p):
            out = super().hist(p)
            for k in ("min", "max", "sum"):
                if not getattr(p, k):
                    out.pop(k, None)
            return out


@with_enc
class Latin1:
    """Encodes as Latin-1, with a question mark for what does not fit."""

    class Enc(LineEncoder):
        def line(self, metrics):
            text = json.dumps(json.loads(super().line(metrics)), ensure_ascii=False)
            return text.encode("latin-1", "replace").decode("latin-1").encode() + b"\n"


@with_enc
class FalsyAttributes:
    """Leaves out attributes whose value is falsy: 0, False and the empty string."""

    class Enc(LineEncoder):
        def attrs(self, a):
            return super().attrs({k: v for k, v in (a or {}).items() if v})


@with_enc
class NegativeOffset:
    """Gives the negative buckets the positive offset."""

    class Enc(LineEncoder):
        def exp(self, p):
            out = super().exp(p)
            out["negative"]["offset"] = p.positive.offset
            return out


@with_enc
class StampsNow:
    """Writes the time of the export for that of the point."""

    class Enc(LineEncoder):
        def times(self, p):
            return {**super().times(p), "timeUnixNano": str(time.time_ns())}


@with_enc
class FloatTimes:
    """Computes times in float seconds, which loses some hundred nanoseconds."""

    class Enc(LineEncoder):
        def times(self, p):
            return {**super().times(p), "timeUnixNano": str(int(p.time_unix_nano / 1e9 * 1e9))}


@with_enc
class HistogramsCumulative:
    """Writes every histogram as cumulative."""

    class Enc(LineEncoder):
        def metric(self, m):
            out = super().metric(m)
            for k in ("histogram", "exponentialHistogram"):
                if k in out:
                    out[k]["aggregationTemporality"] = 2
            return out


@with_enc
class CachedValues:
    """Caches encoded attribute values by the value: 1, 1.0 and True are one key."""

    class Enc(LineEncoder):
        def __init__(self):
            self.cached = functools.lru_cache(10000)(super().val)

        def val(self, v):
            try:
                return self.cached(v)
            except TypeError:
                return super().val(v)


@with_enc
class DotsToUnderscores:
    """Replaces dots in attribute keys by underscores."""

    class Enc(LineEncoder):
        def attrs(self, a):
            return super().attrs({k.replace(".", "_"): v for k, v in (a or {}).items()})


@with_enc
class Int53:
    """Sends integers through a float, as JavaScript has them."""

    class Enc(LineEncoder):
        def num(self, v):
            if isinstance(v, int):
                v = int(float(v))
                return {"asInt": str(min(v, 2**63 - 1))}
            return super().num(v)


@with_enc
class SplitLines:
    """Writes text that is not ASCII as it is, and splits the document also at U+2028 and U+0085."""

    class Enc(LineEncoder):
        def line(self, metrics):
            text = json.dumps(json.loads(super().line(metrics)), ensure_ascii=False)
            return "".join(l + "\n" for l in text.splitlines() if l.strip()).encode()  # noqa: E741


@with_enc
class ExemplarDoubles:
    """Writes every exemplar's value as a double."""

    class Enc(LineEncoder):
        def exemplar(self, e):
            out = super().exemplar(e)
            if "asInt" in out:
                out["asDouble"] = float(out.pop("asInt"))
            return out


@with_enc
class TrimsInPlace:
    """Cuts trailing empty exponential buckets off the caller's own lists."""

    class Enc(LineEncoder):
        def buckets(self, b):
            out = super().buckets(b)
            while len(b.bucket_counts) > 1 and b.bucket_counts[-1] == 0 and isinstance(b.bucket_counts, list):
                b.bucket_counts.pop()
            return out


@with_enc
class NoScale:
    """Writes a negative scale as 0."""

    class Enc(LineEncoder):
        def exp(self, p):
            return {**super().exp(p), "scale": max(0, p.scale)}


@with_enc
class UnitOfFirst:
    """Caches a metric's description and unit by its name for the exporter's life."""

    class Enc(LineEncoder):
        def __init__(self):
            self.seen = {}

        def metric(self, m):
            out = super().metric(m)
            out["description"], out["unit"] = self.seen.setdefault(m.name, (out["description"], out["unit"]))
            return out


@with_enc
class MergesResources:
    """Writes each resource's attributes merged over the last one's, kept from call to call."""

    class Enc(LineEncoder):
        def __init__(self):
            self.base = {}

        def rm(self, r):
            out = super().rm(r)
            self.base.update({one["key"]: one for one in out["resource"]["attributes"]})
            out["resource"]["attributes"] = list(self.base.values())
            return out
