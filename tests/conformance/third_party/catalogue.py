"""The strangers' exporters: what each breaks, and the right exporter that it was made from."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Entry:
    """An exporter: its harness is the attribute ``conformance_harness`` of its class; one of the SDK has a sink."""

    module: str
    name: str
    breaks: tuple[str, ...] = ()
    """The clauses that it breaks; the first one is the right one to name. A right exporter breaks none."""
    right: str = ""
    """The right exporter that it was made from."""
    sink: str = ""
    """The sink that observes it, in the place of a harness."""
    clauses: tuple[str, ...] = ()
    """Those that choose the clauses of a full check."""

    @property
    def options(self) -> dict[str, Any]:
        """Its options where there is no harness, which point it at the sink."""
        return {"endpoint": "{endpoint}"} if self.sink else {}

    @property
    def target(self) -> str:
        """``module:Class``."""
        return f"third_party.{self.module}:{self.name}"

    def load(self) -> type:
        """Import the class."""
        return getattr(importlib.import_module(f"third_party.{self.module}"), self.name)

    @property
    def fault(self) -> str:
        """The fault in words."""
        return (self.load().__doc__ or "").strip()


SOCKETS = ("!P",)  # the scheduler does not see threads that wait for a socket

RIGHT = (
    Entry("right", "PlainExporter", clauses=SOCKETS),
    Entry("right", "PooledExporter", clauses=SOCKETS),
    Entry("right", "QueuedExporter"),
    Entry("right", "WriteBehindExporter"),
    Entry("right", "ThreadPoolExporter"),
    Entry("right", "LoopExporter", clauses=SOCKETS),
    Entry("right", "LockedFileExporter"),
    Entry("right", "JournalExporter"),
    Entry("right", "LinesExporter", clauses=SOCKETS),
    Entry("right", "GrpcExporter", clauses=SOCKETS),
    Entry("right", "SdkExporter", sink="otlp_http", clauses=SOCKETS),
    Entry("right_unusual", "ChildProcessExporter", clauses=SOCKETS),
    Entry("right_unusual", "BlockingExporter", clauses=SOCKETS),
    Entry("right_unusual", "AsyncExporter", clauses=SOCKETS),
    Entry("right_unusual", "SpoolExporter", clauses=SOCKETS),
    Entry("right_more", "SplittingExporter", clauses=SOCKETS),
    Entry("right_more", "StandardQueueExporter", clauses=SOCKETS),
    Entry("right_more", "SqliteRowsExporter", clauses=SOCKETS),
    Entry("right_more", "FolderExporter"),
    Entry("right_more", "HelperExporter", clauses=SOCKETS),
)


def made_from(
    module: str, right: str, table: dict[str, str], sink: str = "", clauses: tuple[str, ...] = ()
) -> list[Entry]:
    """Return the entries of a table of names and the clauses that each breaks."""
    return [Entry(module, name, tuple(breaks.split()), right, sink, clauses) for name, breaks in table.items()]


WRONG = (
    *made_from(
        "wrong_amounts",
        "PlainExporter",
        {
            "FirstThousandPoints": "EXP-01 EXP-02",
            "WholeChunksOnly": "EXP-01 EXP-02",
            "BodyLimit": "EXP-01 EXP-02",
            "UnchangedSeries": "EXP-01 EXP-02 EXP-17",
            "EqualValues": "EXP-01 EXP-02",
            "FirstScopeOnly": "EXP-01 EXP-02",
            "SkipsZeros": "EXP-02 EXP-01",
            "MillisecondTimes": "EXP-02",
            "FloatIntegers": "EXP-02",
            "AsciiOnly": "EXP-02",
            "LosesSchemaUrl": "EXP-02",
            "LosesDescription": "EXP-02",
            "MergesScopesByName": "EXP-02 EXP-01",
        },
        clauses=SOCKETS,
    ),
    *made_from(
        "wrong_http",
        "PlainExporter",
        {
            "FallsOffTheLoop": "EXP-14",
            "ReadsTheBodyOnce": "EXP-13",
            "SendsLessWhenBusy": "EXP-13 DAT-01",
            "EncodesAtEveryAttempt": "DAT-01",
            "RetriesEverything": "EXP-15",
            "StormsOnTooMany": "EXP-15",
            "StormsOnBrokenConnections": "EXP-15",
            "RetryBudgetOfALifetime": "EXP-13 EXP-17",
            "ResetIsFinal": "EXP-13",
            "BelowFiveHundredIsFine": "EXP-14 EXP-18",
            "NotFoundIsFine": "EXP-14",
            "TooLargeIsDone": "EXP-14",
            "TooManyIsDone": "EXP-14",
            "RefreshesTheToken": "EXP-14",
            "UnavailableIsDone": "EXP-14",
            "StatusLineOnly": "EXP-18 EXP-16",
            "AnyPageIsFine": "EXP-18 EXP-16",
            "UrllibFollows": "EXP-18 EXP-07 EXP-10",
            "FollowsSeeOther": "EXP-18",
            "ReturnsTheError": "EXP-14 EXP-04",
            "ExitsWhenUnauthorized": "HND-02 EXP-14",
            "CountsRejectedSeries": "EXP-16",
            "WholeDeadlineEachAttempt": "EXP-09 EXP-06 EXP-07",
            "WholeSeconds": "EXP-06 EXP-07 EXP-08 EXP-09",
            "AtLeastFiveSeconds": "EXP-06 EXP-07 EXP-08",
            "ReconnectsWithoutTimeout": "EXP-08",
            "SecondAttemptWithoutTimeout": "EXP-06 EXP-09 EXP-10 EXP-07 EXP-08",
            "WallClockBackOff": "EXP-12",
            "NapsInTheBackOff": "EXP-11",
            "LooksEveryTwoSeconds": "EXP-10",
            "LooksEveryFiveSeconds": "EXP-10",
            "DeadlineOfAByte": "EXP-07",
            "WatchdogOutlives": "SHD-02 PY-03",
            "DumpsRequests": "SHD-02 PY-03",
            "CircuitBreaker": "EXP-14",
            "ReportsOnce": "EXP-14",
            "FreesInputOnFailure": "DAT-02",
            "MarksRetried": "DAT-02",
            "DeltaAfterFailure": "KND-02",
            "AsksTheBackend": "KND-05",
            "NeedsAResource": "EXP-17",
            "ShutdownSaysDelivered": "SHD-09 SHD-04 EXP-14",
            "NotesTheRequest": "HND-02",
            "LogsTheRequest": "HND-02",
            "WarnsOfTheRequest": "HND-02",
            "CausedBySecret": "HND-02",
            "CarriesTheRequest": "HND-02",
            "PrintsTheTraceback": "HND-02",
        },
        clauses=SOCKETS,
    ),
    *made_from(
        "wrong_http",
        "PooledExporter",
        {
            "LeaksBrokenConnections": "SHD-02 PY-03",
            "KeepsDesynchronized": "EXP-17 EXP-14",
            "NeverReconnects": "EXP-13 EXP-17",
            "StaleCallback": "EXP-17 EXP-10 EXP-01",
            "ShutdownOnlyWithTime": "SHD-03",
        },
        clauses=SOCKETS,
    ),
    *made_from(
        "wrong_holding",
        "QueuedExporter",
        {
            "QueuesReferences": "DAT-01",
            "CopiesShallowly": "DAT-01",
            "FlushesTillEmpty": "FLU-01 EXP-01",
            "DropsTheOldest": "EXP-01",
            "RefusesSilently": "EXP-01",
            "ShutdownAbandons": "SHD-01 SHD-09",
            "ShutdownWaitsASecond": "SHD-01 SHD-04",
            "LogsLateFailures": "FLU-04 EXP-14",
            "TellsLastFailure": "FLU-04",
            "ForgetsFork": "PY-01",
            "SendsTheParentsQueue": "PY-01",
            "JoinsAtExit": "PY-02",
            "BoundToItsThread": "EXP-01 PY-03",
            "ThreadDiesOfFailure": "EXP-04 EXP-14 FLU-04",
        },
        clauses=SOCKETS,
    ),
    *made_from(
        "wrong_holding",
        "WriteBehindExporter",
        {
            "FlushFailsHalfway": "FLU-04 EXP-17",
            "ForgetsBatchAtDeadline": "FLU-03 FLU-01",
            "FlushWithoutTurn": "FLU-05",
        },
    ),
    *made_from(
        "wrong_holding",
        "JournalExporter",
        {
            "FlushClearsLater": "FLU-05 EXP-01",
            "FlushWritesTwice": "FLU-05",
            "FlushReturnsBesideAnother": "FLU-05",
            "ClosesAfterTheDrain": "SHD-09 SHD-08",
            "ChecksOutsideTheLock": "SHD-09",
            "AppendsWithoutLock": "FLU-05 CON-01 SHD-09",
            "ChildDropsItsLines": "PY-01",
            "ParentLinesTwice": "PY-01",
            "SwallowsAtShutdown": "SHD-01 FLU-04",
        },
    ),
    *made_from(
        "wrong_files",
        "LockedFileExporter",
        {
            "FullDiskIsFine": "EXP-14",
            "ShortWrite": "EXP-01 EXP-02",
            "BuffersInUserland": "EXP-01 EXP-04",
            "FlushIsForClosing": "FLU-01",
            "RotatesAway": "EXP-01",
            "TruncatesAfterFailure": "EXP-17 EXP-01",
            "OpensWithW": "PY-01 EXP-01",
            "ReplacesTheFile": "EXP-01",
            "ClosesANumberTwice": "SHD-07 SHD-08 SHD-02",
            "ClosesANumberAfterFailure": "SHD-02 EXP-17",
            "LeavesHalfALine": "CON-01",
        },
    ),
    *made_from(
        "wrong_files",
        "LinesExporter",
        {
            "SendsOnce": "EXP-01 EXP-02",
            "KeepsConnection": "EXP-13 EXP-14 PY-01",
            "SharesConnectionWithChild": "PY-01",
            "ForgetsHalfSentLine": "EXP-17",
        },
        clauses=SOCKETS,
    ),
    *made_from(
        "wrong_grpc",
        "GrpcExporter",
        {
            "ExhaustedIsDone": "EXP-14",
            "UnimplementedIsDone": "EXP-14",
            "WaitsForReady": "EXP-08 EXP-09 EXP-06 EXP-10",
            "LeaksChannels": "SHD-02 PY-03",
            "RetriesInvalid": "EXP-15",
            "CountsNoPartial": "EXP-16",
            "RaisesUntyped": "HND-02",
        },
        clauses=SOCKETS,
    ),
    *made_from(
        "wrong_sdk",
        "SdkExporter",
        {
            "SdkAlwaysSuccess": "EXP-14",
            "SdkSendsAfterShutdown": "SHD-05 SHD-06",
            "SdkIgnoresTimeout": "EXP-06",
            "SdkMillisAsSeconds": "EXP-06",
            "SdkTimeoutForEachAttempt": "EXP-06 EXP-07 EXP-08",
            "SdkDetaches": "EXP-04 EXP-01 EXP-14",
            "SdkHoldsTen": "EXP-01 SHD-01",
            "SdkTextAttributes": "EXP-02",
            "SdkAnswersNone": "EXP-14",
            "SdkFlips": "KND-02",
            "SdkRestsAfterFailure": "EXP-17",
        },
        "otlp_http",
        SOCKETS,
    ),
    *made_from(
        "wrong_process_state",
        "PlainExporter",
        {
            "PrintsProgress": "PY-05",
            "SetsDefaultTimeout": "PY-05",
            "InstallsSignalHandler": "PY-05",
            "ReplacesExceptHook": "PY-05",
            "ConfiguresLogging": "PY-05",
            "SilencesWarnings": "PY-05",
            "SetsLocale": "PY-05",
            "DisablesCollector": "PY-05",
            "RaisesRecursionLimit": "PY-05",
            "SeedsRandom": "PY-05",
            "ExportsEnvironment": "PY-05",
            "TrustsEverybody": "PY-05",
            "PatchesSockets": "PY-05",
            "RegistersAtExit": "PY-03",
            "TakesAlarm": "EXP-01",
            "DisablesLoggers": "PY-05",
        },
        clauses=SOCKETS,
    ),
    *made_from(
        "wrong_process_state",
        "LockedFileExporter",
        {
            "ClearsUmask": "PY-05",
            "ChangesDirectory": "PY-05",
            "ClosesStandardInput": "PY-05",
        },
    ),
    *made_from("wrong_process_state", "SdkExporter", {"SdkPrintsFailures": "PY-05"}, "otlp_http", SOCKETS),
    *made_from(
        "wrong_encoding",
        "PlainExporter",
        {
            "LosesUnit": "EXP-02",
            "LosesMinAndMax": "EXP-02",
            "LosesExemplars": "EXP-02",
            "LosesNegativeBuckets": "EXP-02",
            "SkipsNotANumber": "EXP-02",
            "DropsEmptyValues": "EXP-02",
            "CutsLongTexts": "EXP-02",
            "BooleansAreNumbers": "EXP-02",
            "ListsAreText": "EXP-02",
            "NoNegativeIntegers": "EXP-02",
            "StartsWhenItEnds": "EXP-02",
            "MetricsByName": "EXP-02",
            "OneResourceForAll": "EXP-02",
            "ResourceOverPoints": "EXP-02",
            "LowerCaseNames": "EXP-02",
            "SumsAreMonotonic": "EXP-02",
            "SixDigits": "EXP-02",
            "CountsCharacters": "EXP-02 EXP-01",
            "ClaimsGzip": "EXP-01",
            "CompressesOnce": "EXP-13",
        },
        clauses=SOCKETS,
    ),
    *made_from("wrong_encoding", "SdkExporter", {"SdkLosesScopes": "EXP-01 EXP-02"}, "otlp_http", SOCKETS),
    *made_from(
        "wrong_lives",
        "PlainExporter",
        {
            "OneClientForAll": "EXP-20",
            "ConnectionForEachThread": "SHD-02 PY-03",
            "ThreadForEachExport": "SHD-02 PY-03",
            "KeepsHistory": "PY-03",
            "NeedsADeadline": "EXP-01",
            "WallClockTimeout": "EXP-12",
            "LooksUpWithoutTimeout": "EXP-08",
            "HandshakeWithoutTimeout": "EXP-08",
            "DeadlineIsDone": "EXP-06",
            "CancelledIsDone": "EXP-10",
            "CancelsTheCaller": "EXP-14",
            "SentIsDelivered": "EXP-14",
            "RetriesPartialSuccess": "EXP-16",
            "IgnoresRetryAfter": "EXP-15",
            "StormsOnDates": "EXP-15",
            "SecondExportGivesUp": "EXP-13 EXP-17 EXP-16",
            "RefusedIsRetriedForEver": "EXP-15",
            "WrongErrorAfterShutdown": "SHD-06",
            "FlushAfterShutdownRaises": "SHD-06",
            "PreferencesEndWithShutdown": "KND-02",
        },
        clauses=SOCKETS,
    ),
    *made_from("wrong_lives", "PooledExporter", {"ShutdownOfOneEndsAll": "EXP-20 EXP-01"}, clauses=SOCKETS),
    *made_from("wrong_lives", "QueuedExporter", {"TellsFailureForEver": "FLU-04 EXP-17"}, clauses=SOCKETS),
    *made_from("wrong_lives", "WriteBehindExporter", {"TellsAndForgetsTheRest": "FLU-04 EXP-17"}, clauses=SOCKETS),
    *made_from("wrong_lives", "LockedFileExporter", {"KeepsTheLock": "EXP-17"}),
    *made_from(
        "wrong_lives",
        "GrpcExporter",
        {"LimitOfFourMegabytes": "EXP-01 EXP-02", "ChannelOfTheParent": "PY-01"},
        clauses=SOCKETS,
    ),
    *made_from(
        "wrong_lives",
        "SdkExporter",
        {"SdkEditsInput": "DAT-02", "SdkPreferenceByName": "KND-01", "SdkLingers": "SHD-04"},
        "otlp_http",
        SOCKETS,
    ),
    *made_from(
        "wrong_more_content",
        "PlainExporter",
        {
            "ResourceOfTheFirstBatch": "EXP-02",
            "CachesAttributes": "EXP-02",
            "SkipsEmptyHistograms": "EXP-02 EXP-01",
            "LosesZeroCount": "EXP-02",
            "UnsignedScale": "EXP-02",
            "StartsWithTheExporter": "EXP-02",
            "SkipsNoneInLists": "EXP-02",
            "AlwaysCumulative": "EXP-02",
            "LosesExemplarAttributes": "EXP-02",
            "SkipsNamelessScopes": "EXP-02 EXP-01",
            "MapsAreText": "EXP-02",
            "NormalizesUnicode": "EXP-02",
            "BytesAreText": "EXP-02",
            "WholeBounds": "EXP-02",
            "UnderscoresInKeys": "EXP-02 EXP-01",
            "ForgetsTheSign": "EXP-02",
            "FirstAttributeWins": "EXP-02",
            "StripsTexts": "EXP-02",
            "EndsTextAtNull": "EXP-02",
        },
        clauses=SOCKETS,
    ),
    *made_from(
        "wrong_more_amounts",
        "PlainExporter",
        {
            "SeriesLimitOfALifetime": "EXP-01 EXP-02",
            "SamplesLargeBatches": "EXP-01 EXP-02",
            "SkipsOldPoints": "EXP-01 EXP-02 EXP-17",
            "KeepsLastOfSeries": "EXP-01 EXP-02",
            "DropsStalePoints": "EXP-01 EXP-02",
            "ThrottlesExports": "EXP-01 EXP-17",
            "NumbersRequestsInAByte": "EXP-01",
        },
        clauses=SOCKETS,
    ),
    *made_from("wrong_more_amounts", "PooledExporter", {"ExpiresWhenIdle": "EXP-01 EXP-17"}, clauses=SOCKETS),
    *made_from(
        "wrong_more_amounts",
        "SplittingExporter",
        {
            "LastRequestDecides": "EXP-14 EXP-01 EXP-16",
            "StartsOverWhenBusy": "EXP-13 EXP-03",
            "ForgetsTheRestOfABatch": "EXP-01 EXP-02",
        },
        clauses=SOCKETS,
    ),
    *made_from(
        "wrong_more_http",
        "PlainExporter",
        {
            "RetryAfterInMilliseconds": "EXP-15",
            "ChokesOnDates": "EXP-15 EXP-13 HND-02",
            "RetriesWhenAsked": "EXP-13",
            "BackOffOfALifetime": "EXP-13 EXP-17",
            "RetriesWithinDeadlineOnly": "EXP-13",
            "SendsFailedBatchesLater": "EXP-17 EXP-14",
            "FirstFailureDecides": "EXP-13",
            "NoContentIsFine": "EXP-19",
            "FollowsTemporaryRedirects": "EXP-18",
            "WarnsOfPartialSuccess": "EXP-16",
            "NotYetUp": "EXP-14",
            "BelowASecondIsNone": "EXP-06 EXP-07 EXP-08 EXP-09",
            "DrainsAnswers": "EXP-06 EXP-10 EXP-07 SHD-04",
            "TimerOutlives": "SHD-02 PY-03",
            "AbandonsTheRequest": "EXP-04 SHD-02",
            "StaysCancelled": "EXP-17",
            "KeepsTheFirstDeadline": "EXP-17 EXP-01",
        },
        clauses=SOCKETS,
    ),
    *made_from(
        "wrong_more_secrets",
        "PlainExporter",
        {
            "QuotesBasicCredentials": "HND-02",
            "QuotesTheUrl": "HND-02",
            "AttachesHeadersToLogs": "HND-02",
            "LogsDeliveries": "HND-02",
            "LogsItsOptions": "HND-02",
            "ShowsItsToken": "HND-02",
            "TellsInTheGroup": "HND-02",
        },
        clauses=SOCKETS,
    ),
    *made_from(
        "wrong_more_async",
        "AsyncExporter",
        {
            "BlocksTheLoop": "EXP-11 EXP-09",
            "RetriesCancellation": "EXP-10 EXP-06",
            "DetachesTask": "EXP-04 EXP-01",
            "AsyncTemporality": "KND-01 INT-01",
            "GathersFailures": "EXP-14 EXP-16",
            "ShieldsTheRequest": "EXP-04 EXP-10",
            "OwnTimeout": "EXP-10 EXP-06",
        },
        clauses=SOCKETS,
    ),
    *made_from(
        "wrong_more_holding",
        "StandardQueueExporter",
        {
            "PutsWithoutTimeout": "EXP-06 EXP-10 SHD-04",
            "FlushJoinsTheQueue": "FLU-03",
            "ShutdownJoinsTheThread": "SHD-04 PY-02",
            "TwoWorkersOneMark": "FLU-01 SHD-01 SHD-11 FLU-04 EXP-01",
            "OneQueueForAll": "EXP-20 EXP-01",
            "FlushNeedsAnExport": "FLU-01 PY-01",
            "ShutdownNeedsAnExport": "SHD-02 SHD-01 SHD-03 SHD-07 SHD-06",
        },
        clauses=SOCKETS,
    ),
    *made_from(
        "wrong_more_holding",
        "QueuedExporter",
        {"FlushWaitsASecond": "FLU-01 FLU-03", "SharesAttributes": "DAT-01"},
        clauses=SOCKETS,
    ),
    *made_from(
        "wrong_more_holding",
        "WriteBehindExporter",
        {
            "ShutdownSendsAgain": "EXP-03",
            "ShutdownCanBeTriedAgain": "SHD-10 SHD-03 SHD-06 SHD-07",
            "NewestOfEachMetric": "EXP-01 EXP-02",
            "FlushesTenAtMost": "FLU-01 EXP-01",
            "FailedBatchStaysFirst": "EXP-17 FLU-04",
            "DropsTheBatchThatFills": "EXP-01",
            "OneListForAll": "EXP-20 EXP-01",
        },
        clauses=SOCKETS,
    ),
    *made_from(
        "wrong_more_holding",
        "JournalExporter",
        {"LocksInTwoOrders": "FLU-05", "SilentAfterAFailure": "EXP-17 EXP-14 FLU-04"},
    ),
    *made_from(
        "wrong_more_files",
        "FolderExporter",
        {
            "NamesBySecond": "EXP-01",
            "CountsFromOne": "EXP-01 PY-01 EXP-20",
            "KeepsTenFiles": "EXP-01",
        },
    ),
    *made_from("wrong_more_files", "LockedFileExporter", {"WritesToTheOldFile": "EXP-14"}),
    *made_from("wrong_more_files", "SpoolExporter", {"LeavesItsFolder": "SHD-02 PY-03"}, clauses=SOCKETS),
    *made_from(
        "wrong_more_files",
        "SqliteRowsExporter",
        {"BelongsToOneThread": "EXP-01 SHD-02", "CommitsAtTheEnd": "EXP-01 EXP-04", "LockedIsDone": "EXP-14"},
        clauses=SOCKETS,
    ),
    *made_from(
        "wrong_more_files",
        "ChildProcessExporter",
        {"IgnoresExitStatus": "EXP-14", "LeavesZombies": "SHD-02 PY-03", "BatchOnTheCommandLine": "EXP-01"},
        clauses=SOCKETS,
    ),
    *made_from(
        "wrong_more_files",
        "HelperExporter",
        {"HelperIsGone": "EXP-17", "HelperOutlives": "SHD-02", "HelperForEachExport": "SHD-02 PY-03"},
        clauses=SOCKETS,
    ),
    *made_from("wrong_more_files", "LinesExporter", {"BlocksInSend": "EXP-06 EXP-10 SHD-04"}, clauses=SOCKETS),
)
