"""Plugins that import well and are no exporters of the contract: --check and selecting say what is wrong and where."""

from __future__ import annotations

import pytest

# What is said of each after "exporter NAME (DISTRIBUTION VERSION) does not fit the contract: ", a line a problem.
MISFITS = {
    "a_function": (
        "def Plugin(config): return Good(config)",
        ["Plugin is not a class; an exporter entry point nam..."],
    ),
    "an_instance": ("Plugin = Good(Config())", ["an object of type Good is not a class; ..."]),
    "a_partial": (
        "from functools import partial; Plugin = partial(Good)",
        ["an object of type partial is not a class; ..."],
    ),
    "empty": (
        "class Plugin: pass",
        [
            f"zoo_empty.Plugin has no operation {operation!r}; subclass exporter_core.Exporter for sound defaults (...)"
            for operation in ("temporality", "aggregation", "export", "force_flush", "shutdown")
        ],
    ),
    "of_the_sdk": (
        (
            "from opentelemetry.sdk.metrics.export import ConsoleMetricExporter\n\n"
            "class Plugin(ConsoleMetricExporter):\n    pass\n"
        ),
        [
            (
                "zoo_of_the_sdk.Plugin is a MetricExporter of the OpenTelemetry SDK; register a subclass of "
                "exporter_core.Exporter here, and this one in the group 'opentelemetry_metrics_exporter' "
                "(...zoo_of_the_sdk.py:4)"
            )
        ],
    ),
    "abstract": (
        "class Plugin(Exporter[Config]): pass",
        ["zoo_abstract.Plugin.export is abstract: an exporter has to implement it (...zoo_abstract.py:2)"],
    ),
    "misspelt": (
        "class Plugin(Good):\n    def force_flsh(self, context): pass",
        ["zoo_misspelt.Plugin.force_flsh is nearly the operation 'force_flush': rename it (...zoo_misspelt.py:3)"],
    ),
    "other_parameters": (
        "class Plugin(Good):\n    def export(self, metrics, timeout_millis=1, *args, deadline, **kwargs): pass",
        [
            "...has the parameter 'metrics' where 'context' belongs; the contract has export(self, context, me...",
            "...parameter 'timeout_millis' where 'metrics' belongs; ...",
            "...takes *args: ...",
            "...has the keyword-only parameter 'deadline'; ...",
            "...takes **kwargs: ...",
        ],
    ),
    "asynchronous_answers": (
        "class Plugin(Good):\n    async def temporality(self, instrument_kind): pass",
        ["zoo_asynchronous_answers.Plugin.temporality is async; it must be a plain function (...)"],
    ),
    "a_generator": (
        "class Plugin(Good):\n    def export(self, context, metrics): yield",
        ["zoo_a_generator.Plugin.export is a generator; an operation returns when it is done, so it must not yiel..."],
    ),
    "a_static_method": (
        "class Plugin(Good):\n    @staticmethod\n    def export(context, metrics): pass",
        ["zoo_a_static_method.Plugin.export is a staticmethod; an operation is a plain method (...)"],
    ),
    "a_raising_property": (
        "class Plugin(Good):\n    @property\n    def export(self): raise SystemExit",
        ["zoo_a_raising_property.Plugin.export is a property; an operation is a plain method (...)"],
    ),
    "options_are_a_dict": (
        "class Plugin(Exporter[dict]):\n    def export(self, context, metrics): pass",
        ["zoo_options_are_a_dict.Plugin: Exporter[...] takes a subclass of ExporterConfig, not <class 'dict'>"],
    ),
    "options_are_a_dataclass": (
        "import dataclasses\nclass Plugin(Good): config_model = dataclasses.make_dataclass('Options', ['path'])",
        ["zoo_options_are_a_dataclass.Plugin.config_model is not a subclass of exporter_core.ExporterConfig"],
    ),
    "options_of_another_base": (
        "import pydantic\nclass Options(pydantic.BaseModel): pass\nclass Plugin(Good): config_model = Options",
        ["zoo_options_of_another_base.Plugin.config_model is not a subclass of exporter_core.ExporterConfig"],
    ),
    "options_are_an_instance": (
        "class Plugin(Good): config_model = Config()",
        ["zoo_options_are_an_instance.Plugin.config_model is not a subclass of exporter_core.ExporterConfig"],
    ),
}

# What looking at the class does is plugin code too; said after "... cannot be loaded: ".
UNREADABLE = {
    "class_attribute_that_exits": (
        (
            "class Exits:\n    def __get__(self, instance, owner): raise SystemExit('got')\n"
            "class Plugin(Good): config_model = Exits()"
        ),
        "SystemExit: got",
    ),
    "metaclass_that_raises": (
        (
            "class Meta(type(Good)):\n    def __getattribute__(cls, name): raise KeyboardInterrupt(name)\n"
            "class Plugin(Good, metaclass=Meta): pass"
        ),
        "KeyboardInterrupt: ...",
    ),
    "metaclass_without_dir": (
        (
            "class Meta(type(Good)):\n    def __dir__(cls): raise LookupError('nothing here')\n"
            "class Plugin(Good, metaclass=Meta): pass"
        ),
        "LookupError: nothing here",
    ),
    "says_it_is_a_class": (
        "class Liar:\n    __class__ = property(lambda self: type)\nPlugin = Liar()",
        "...Error: ...",
    ),
    "says_nothing_of_its_class": (
        "class Secretive:\n    @property\n    def __class__(self): raise SystemExit('mine')\nPlugin = Secretive()",
        "SystemExit: mine",
    ),
}

USABLE = {
    "a_huge_docstring": "Good.__doc__ = 'x' * 20_000_000\nclass Plugin(Good): __doc__ = Good.__doc__",
    "no_docstring": "class Plugin(Good): pass",
    "a_docstring_that_is_none": "class Plugin(Good): __doc__ = 3",
    "options_without_end": (
        "import typing, pydantic\n"
        "class Options(Config): more: typing.Optional['Options'] = None\n"
        "class Plugin(Exporter[Options]):\n    def export(self, context, metrics): pass"
    ),
}


def lines(name, asked):
    """What is to be said of a specimen that is asked for by this name."""
    if name in MISFITS:
        return [f"exporter {asked!r} (zoo-{name} 6.6) does not fit the contract: {it}" for it in MISFITS[name][1]]
    return [f"exporter {asked!r} (zoo-{name} 6.6) cannot be loaded: {UNREADABLE[name][1]}"]


@pytest.fixture
def misfits(site):
    site.specimens({name: source for name, (source, _) in {**MISFITS, **UNREADABLE}.items()})
    return [*MISFITS, *UNREADABLE]


@pytest.mark.nightly
def test_a_check_says_what_is_wrong(site, expect):
    names = ["a_function", "empty", "of_the_sdk", "other_parameters", "options_are_a_dict", *UNREADABLE]
    site.specimens({name: {**MISFITS, **UNREADABLE}[name][0] for name in names})
    site.specimen("a_module", "", attribute="")
    expected = {name: " ".join(lines(name, f"zoo-{name}:{name}")) for name in names}
    expected["a_module"] = "exporter 'zoo-a_module:a_module' (zoo-a_module 6.6) does...type module is not a class..."
    expect(site.checked(), expected)


def test_selecting_one_says_the_same_and_the_host_goes_on(misfits, visit, expect):
    kind = {name: "ContractError" if name in MISFITS else "PluginLoadError" for name in misfits}
    said = {name: heard[0].splitlines() for name, heard in visit(misfits).items()}
    expect(said, {name: [f"{kind[name]}: {first}", *rest] for name in misfits for first, *rest in [lines(name, name)]})


def test_odd_ones_that_fit_the_contract_are_checked_and_used(site, visit):
    site.specimens(USABLE)
    assert site.checked() == dict.fromkeys(USABLE, "ok")
    assert visit(USABLE) == dict.fromkeys(USABLE, ["ok"] * 5)
