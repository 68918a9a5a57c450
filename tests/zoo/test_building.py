"""Plugins whose constructors, first answers or options misbehave: --check, which builds nothing, finds them usable;
selecting them is one error that names the plugin and shows no secret."""

from __future__ import annotations

import pytest


def options(body):
    return (
        "class Options(Config):\n    @field_validator('password', mode='before')\n    @classmethod\n"
        f"    def read(cls, value):\n        {body}\n"
    )


# A Good exporter with this body; what selecting says after "exporter NAME (DISTRIBUTION VERSION) ".
CONSTRUCTORS = {
    "raises": ("def __init__(self, config): raise OSError(f'key {SECRET} refused')", "OSError: key *** refused"),
    "exits": ("def __init__(self, config): raise SystemExit(3)", "SystemExit: 3"),
    "interrupts": ("def __init__(self, config): raise KeyboardInterrupt", "KeyboardInterrupt"),
    "is_closed": ("def __init__(self, config): raise GeneratorExit", "GeneratorExit"),
    "raises_unprintably": (
        "def __init__(self, config): raise Unprintable",
        "Unprintable: (its message cannot be shown)",
    ),
    "raises_an_error_of_ours": (
        "def __init__(self, config): raise ConfigError([ConfigProblem(f'one {SECRET}'), ConfigProblem('two')])",
        "one *** two",
    ),
    "wants_more": (
        "def __init__(self, config, endpoint): pass",
        "TypeError: ... missing 1 required positional arg...",
    ),
    "recurses": (
        "def __init__(self, config): type(self)(config)",
        "RecursionError: maximum recursion depth ex...",
    ),
    "every_attribute_raises": (
        "def __getattribute__(self, name): raise SystemExit('no ' + name)",
        "SystemExit: no ...",
    ),
    "cannot_say_where": ("def destination(self): raise OSError('nowhere')", "OSError: nowhere"),
    "answer_that_exits": ("def temporality(self, instrument_kind): raise SystemExit('later')", "SystemExit: later"),
}

HANGING = {
    "hangs": "def __init__(self, config): import threading; threading.Event().wait()",
    "answer_that_hangs": "def aggregation(self, instrument_kind): import threading; threading.Event().wait()",
}

# The same, with what is said after "... does not fit the contract: ".
ANSWERS = {
    "temporality_is_none": (
        "def temporality(self, instrument_kind): return None",
        "zoo_temporality_is_none.Plugin.temporality(counter) answered None; it must be Aggregation...",
    ),
    "temporality_is_text": (
        "def temporality(self, instrument_kind): return 'delta'",
        "zoo_temporality_is_text.Plugin.temporality(counter) answered an object of type str; ...",
    ),
    "aggregation_is_a_class": (
        "def aggregation(self, instrument_kind):\n        return type(super().aggregation(instrument_kind))",
        "zoo_aggregation_is_a_class.Plugin.aggregation(counter) answered an object of type ABCMeta; it must be an...",
    ),
    "makes_something_else": ("def __new__(cls, config): return 3", "builtins.int has no operation 'temporality'; ..."),
    "hides_an_operation": (
        "def __dir__(self): return []",
        "zoo_hides_an_operation.Plugin hides its operation 'temporality': dir() of an instance has to have it",
    ),
}

# Options with this validator of the option "password", given the secret; what is said after "... options failed: ".
VALIDATORS = {
    "validator_that_exits": ("raise SystemExit('no ' + value)", "SystemExit: no ***"),
    "validator_that_raises": ("raise OSError('no ' + value)", "OSError: no ***"),
    "validator_that_raises_unprintably": ("raise Unprintable", "Unprintable: (its message cannot be shown)"),
    "validator_that_recurses": ("return cls.read(value)", "RecursionError: ..."),
    "validator_with_an_unprintable_value_error": (
        "class Error(ValueError):\n            def __str__(self): raise SystemExit\n        raise Error",
        "SystemExit",
    ),
}

ODD_OPTIONS = {
    "options_that_hang": (
        options("import threading; threading.Event().wait()"),
        "PluginLoadError: {title}: checking the options failed: it did not end within 1 s",
    ),
    "options_refuse_to_be_told_of": (
        (
            "import threading\nclass Error(ValueError):\n    def __str__(self): threading.Event().wait()\n"
            "class Options(Config):\n    @field_validator('password')\n    @classmethod\n"
            "    def read(cls, value): raise Error\n"
        ),
        "PluginLoadError: {title}: checking the options failed: it did not end within 1 s",
    ),
    "options_become_a_dict": (
        "class Options(Config):\n    @classmethod\n    def model_validate(cls, *_, **__): return {}\n",
        (
            "ContractError: {title} does not fit the contract: zoo_options_become_a_dict.Options validates options to "
            "something else"
        ),
    ),
    "options_refuse_to_be_read": (
        (
            "import typing\nclass Odd:\n    def __str__(self): raise KeyboardInterrupt\n"
            "class Options(Config):\n    place: typing.Any = Odd()\n"
        ),
        "PluginLoadError: {title} cannot be loaded: KeyboardInterrupt",
    ),
    "options_say_what_was_wrong": (
        (
            "class Options(Config):\n    @field_validator('password', mode='before')\n    @classmethod\n"
            "    def read(cls, value): raise ValueError(f'{value} is too weak')\n"
        ),
        "ConfigError: exporter 'options_say_what_was_wrong': password: *** is too weak",
    ),
}


def with_options(source):
    return f"{source}\nclass Plugin(Exporter[Options]):\n    def export(self, context, metrics): pass\n"


def expectations():
    """What selecting each specimen says."""
    words = dict.fromkeys(CONSTRUCTORS, "PluginLoadError: {title} cannot be built: {text}")
    words |= dict.fromkeys(
        HANGING, "PluginLoadError: {title} was not built in time: its constructor or its first an..."
    )
    words |= dict.fromkeys(ANSWERS, "ContractError: {title} does not fit the contract: {text}")
    words |= dict.fromkeys(VALIDATORS, "PluginLoadError: {title}: checking the options failed: {text}")
    words |= {name: text for name, (_, text) in ODD_OPTIONS.items()}
    texts = {name: text for name, (_, text) in {**CONSTRUCTORS, **ANSWERS, **VALIDATORS}.items()}
    return {
        name: text.format(title=f"exporter {name!r} (zoo-{name} 6.6)", text=texts.get(name))
        for name, text in words.items()
    }


@pytest.fixture
def everything(site):
    bodies = {name: body for name, (body, _) in {**CONSTRUCTORS, **ANSWERS}.items()} | HANGING
    site.specimens({name: f"class Plugin(Good):\n    {body}\n" for name, body in bodies.items()})
    site.specimens({name: with_options(options(body)) for name, (body, _) in VALIDATORS.items()})
    site.specimens({name: with_options(source) for name, (source, _) in ODD_OPTIONS.items()})


def test_selecting_one_says_why_in_one_line_without_secrets_and_the_host_goes_on(everything, visit, expect):
    plans = {name: {"timeout": 1.0} for name in HANGING}
    plans |= {name: {"config": {"password": "hunter2-of-the-zoo"}} for name in {**VALIDATORS, **ODD_OPTIONS}}
    for name in ("options_that_hang", "options_refuse_to_be_told_of"):
        plans[name]["timeout"] = 1.0
    said = visit([*CONSTRUCTORS, *ANSWERS], **plans)
    expect({name: "\n".join(heard) for name, heard in said.items()}, expectations())


def test_a_check_builds_nothing_and_finds_them_usable(site):
    bodies = {"raises": CONSTRUCTORS["raises"][0], "hangs": HANGING["hangs"]}
    site.specimens({name: f"class Plugin(Good):\n    {body}\n" for name, body in bodies.items()})
    site.specimen("validator_that_exits", with_options(options(VALIDATORS["validator_that_exits"][0])))
    assert site.checked() == dict.fromkeys([*bodies, "validator_that_exits"], "ok")


def test_a_check_says_that_options_cannot_be_described(site):
    site.specimen("options_refuse_to_be_read", with_options(ODD_OPTIONS["options_refuse_to_be_read"][0]))
    assert site.checked() == {"options_refuse_to_be_read": "KeyboardInterrupt"}
