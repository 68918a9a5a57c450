"""Wrong exporters in what of a batch arrives."""

from __future__ import annotations

import dataclasses
import unicodedata

from third_party.keen_base import copied
from third_party.right_keen_local import Filed


class FalsyStart(Filed):
    """Takes a start time of 0 for none, and writes the time of the point."""

    def shape(self, metrics):
        return copied(
            metrics,
            point=lambda p: dataclasses.replace(p, start_time_unix_nano=p.start_time_unix_nano or p.time_unix_nano),
        )


class MinusZero(Filed):
    """Turns minus zero into zero."""

    def shape(self, metrics):
        return copied(
            metrics,
            point=lambda p: (
                dataclasses.replace(p, value=p.value + 0.0) if hasattr(p, "value") and isinstance(p.value, float) else p
            ),
        )


class Nfc(Filed):
    """Normalises the texts of attributes."""

    def shape(self, metrics):
        def point(p):
            return dataclasses.replace(
                p,
                attributes={
                    k: unicodedata.normalize("NFC", v) if isinstance(v, str) else v for k, v in p.attributes.items()
                },
            )

        return copied(metrics, point=point)


class Cuts4096(Filed):
    """Cuts the texts of attributes at 4,096 characters."""

    def shape(self, metrics):
        return copied(
            metrics,
            point=lambda p: dataclasses.replace(
                p, attributes={k: v[:4096] if isinstance(v, str) else v for k, v in p.attributes.items()}
            ),
        )


class TrimsBuckets(Filed):
    """Leaves out empty buckets at the end of a side of an exponential histogram."""

    def shape(self, metrics):
        def trim(b):
            counts = list(b.bucket_counts)
            while counts and not counts[-1]:
                counts.pop()
            return dataclasses.replace(b, bucket_counts=counts)

        return copied(
            metrics,
            point=lambda p: (
                dataclasses.replace(p, positive=trim(p.positive), negative=trim(p.negative))
                if hasattr(p, "positive")
                else p
            ),
        )


class StripsText(Filed):
    """Strips white space from the texts of attributes."""

    def shape(self, metrics):
        return copied(
            metrics,
            point=lambda p: dataclasses.replace(
                p, attributes={k: v.strip() if isinstance(v, str) else v for k, v in p.attributes.items()}
            ),
        )


class DropsEmptySequence(Filed):
    """Leaves out attributes that are empty sequences."""

    def shape(self, metrics):
        return copied(
            metrics,
            point=lambda p: dataclasses.replace(
                p, attributes={k: v for k, v in p.attributes.items() if not (isinstance(v, (list, tuple)) and not v)}
            ),
        )


class Keeps128(Filed):
    """Keeps 128 attributes of a point at most."""

    def shape(self, metrics):
        return copied(
            metrics, point=lambda p: dataclasses.replace(p, attributes=dict(list(p.attributes.items())[:128]))
        )


class NanosThroughFloat(Filed):
    """Counts times as fractions of seconds on the way."""

    def shape(self, metrics):
        return copied(
            metrics, point=lambda p: dataclasses.replace(p, time_unix_nano=round(p.time_unix_nano / 1e9 * 1e9))
        )


class FalsyMin(Filed):
    """Takes a minimum of 0.0 for none."""

    def shape(self, metrics):
        return copied(metrics, point=lambda p: dataclasses.replace(p, min=p.min or None) if hasattr(p, "min") else p)


class NeedsTrace(Filed):
    """Leaves out exemplars without a trace."""

    def shape(self, metrics):
        return copied(metrics, point=lambda p: dataclasses.replace(p, exemplars=[e for e in p.exemplars if e.trace_id]))


class TemporalityOnce(Filed):
    """Remembers the temporality of a metric by its name."""

    def __init__(self, config):
        super().__init__(config)
        self.known = {}

    def shape(self, metrics):
        return dataclasses.replace(
            metrics,
            resource_metrics=[
                dataclasses.replace(
                    r,
                    scope_metrics=[
                        dataclasses.replace(
                            s,
                            metrics=[
                                dataclasses.replace(
                                    m,
                                    data=dataclasses.replace(
                                        m.data,
                                        aggregation_temporality=self.known.setdefault(
                                            (m.name, type(m.data)), m.data.aggregation_temporality
                                        ),
                                    ),
                                )
                                if hasattr(m.data, "aggregation_temporality")
                                else m
                                for m in s.metrics
                            ],
                        )
                        for s in r.scope_metrics
                    ],
                )
                for r in metrics.resource_metrics
            ],
        )
