"""Wrong exporters that change, lose or keep back what they were handed."""

from __future__ import annotations

import math
import unicodedata

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from third_party.blind_base import Base
from third_party.blind_encoder import Enc
from third_party.right_blind_local import Mapper


class BigMapper(Mapper):
    def integer(self, v):
        return {"asInt": str(int(float(v)))}


class IntegersThroughFloats(Base):
    """Sends JSON of its own mapper, in which integers of 64 bits pass through a float."""

    enc_class = BigMapper

    def headers(self):
        return {**super().headers(), "Content-Type": "application/json"}


class OffsetEncoder(Enc):
    def negative(self, p):
        b = self.buckets(p.negative)
        b.offset = p.positive.offset
        return b


class CopiesPositiveOffset(Base):
    """Gives the negative buckets of exponential histograms the offset of the positive ones."""

    enc_class = OffsetEncoder


class NumbersEncoder(Enc):
    def points(self, pts):
        return [p for p in pts if not (isinstance(getattr(p, "value", None), float) and math.isnan(p.value))]


class NotANumberIsNoData(Base):
    """Takes NaN for no data: skips such points without a word."""

    enc_class = NumbersEncoder


class GroupingEncoder(Enc):
    def scopes(self, r):
        groups = {}
        for s in r.scope_metrics:
            key = (s.scope.name, s.scope.version) if s.scope else None
            x = self.scope(s)
            if key in groups:
                groups[key].metrics.extend(x.metrics)
            else:
                groups[key] = x
        return list(groups.values())


class GroupsScopes(Base):
    """Groups scopes by name and version: attributes and schema URL of the first one win."""

    enc_class = GroupingEncoder


class CachingEncoder(Enc):
    def __init__(self):
        self.cache = {}

    def attrs(self, m):
        key = tuple((m or {}).items())
        try:
            found = self.cache.get(key)
        except TypeError:
            return super().attrs(m)
        if found is None:
            if len(self.cache) > 5000:
                self.cache.clear()
            found = self.cache[key] = super().attrs(m)
        return found


class CachesEqualAttributes(Base):
    """Caches encoded attributes between exports under their items, where 1, 1.0 and True are equal."""

    enc_class = CachingEncoder


class NormalisingEncoder(Enc):
    def text(self, s):
        return unicodedata.normalize("NFC", s)


class NormalisesTexts(Base):
    """Normalises texts to NFC before it sends them."""

    enc_class = NormalisingEncoder


class OmittingEncoder(Enc):
    def attrs(self, m):
        return super().attrs({k: v for k, v in (m or {}).items() if v or isinstance(v, (int, float))})


class OmitsEmptyAttributes(Base):
    """Leaves out attributes whose text or sequence is empty."""

    enc_class = OmittingEncoder


class ExtremesEncoder(Enc):
    def extremes(self, p, x):
        if p.min:
            x.min = p.min
        if p.max:
            x.max = p.max


class ZeroExtremesAreAbsent(Base):
    """Takes a minimum or maximum of 0 of a histogram for none."""

    enc_class = ExtremesEncoder


class FloatTimesEncoder(Enc):
    def time(self, t):
        return round((t or 0) / 1e9 * 1e9)


class TimesThroughFloats(Base):
    """Computes times as seconds in a float, and back."""

    enc_class = FloatTimesEncoder


class ChangesEncoder(Enc):
    def __init__(self):
        self.last, self.new = {}, {}

    def request(self, metrics):
        self.new = {}
        r = super().request(metrics)
        for rm in r.resource_metrics:
            for sm in rm.scope_metrics:
                keep = []
                for m in sm.metrics:
                    key = (rm.resource.SerializeToString(), sm.scope.SerializeToString(), m.name)
                    kind = m.WhichOneof("data")
                    if kind is None:
                        continue
                    c = type(m)()
                    c.CopyFrom(m)
                    for p in getattr(c, kind).data_points:
                        p.ClearField("time_unix_nano")
                        p.ClearField("start_time_unix_nano")
                    sig = c.SerializeToString()
                    if self.last.get(key) != sig:
                        keep.append(m)
                    self.new[key] = sig
                if len(keep) < len(sm.metrics):
                    k = [type(m).FromString(m.SerializeToString()) for m in keep]
                    del sm.metrics[:]
                    sm.metrics.extend(k)
        return r


class SkipsSameValues(Base):
    """Does not send a metric again whose points have the values of the last export."""

    enc_class = ChangesEncoder

    def deliver(self, context, metrics):
        super().deliver(context, metrics)
        self.enc.last = self.enc.new


class PoppingEncoder(Enc):
    def request(self, metrics):
        out = ExportMetricsServiceRequest()
        pending = metrics.resource_metrics
        while pending:
            out.resource_metrics.append(self.resource(pending[0]))
            pending = self.free(pending)
        return out

    def free(self, pending):
        if isinstance(pending, list):
            pending.pop(0)
            return pending
        return pending[1:]


class PopsCallersList(Base):
    """Pops the resources that it has encoded from the caller's list, to free memory."""

    enc_class = PoppingEncoder
