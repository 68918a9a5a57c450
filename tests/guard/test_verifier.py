"""The verifier: what does not fit the contract is found before any of its code is called, and said in one line."""

from __future__ import annotations

import functools
import inspect
from typing import Any

import pytest

from exporter_core.contract import hookimpl
from exporter_core.errors import ContractError
from exporter_core.exporter import Exporter, ExporterConfig
from exporter_core.guard import verify
from exporter_core.guard.verifier import asynchronous_operations
from exporter_core.testing import FakeExporter


class Whole:
    """The five operations without the base class."""

    def temporality(self, instrument_kind): ...
    def aggregation(self, instrument_kind): ...
    def export(self, context, metrics): ...
    def force_flush(self, context): ...
    def shutdown(self, context): ...


def problem(exporter_class: object) -> str:
    """The one problem of a class."""
    with pytest.raises(ContractError) as caught:
        verify(exporter_class)
    lines = str(caught.value).splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def misfit(**members: Any) -> type:
    return type("Misfit", (Whole,), {"__module__": __name__, **members})


def test_a_class_with_the_five_operations_fits():
    assert verify(Whole) is Whole
    assert verify(FakeExporter) is FakeExporter


def test_an_operation_may_take_a_leading_part_of_its_parameters():
    class Terse(Whole):
        def temporality(self): ...
        def export(self, context): ...
        def shutdown(self): ...

    assert verify(Terse) is Terse


def test_positional_only_parameters_fit():
    class Positional(Whole):
        def export(self, context, metrics, /): ...

    assert verify(Positional) is Positional


def test_three_operations_may_be_async():
    class Asynchronous(Whole):
        async def export(self, context, metrics): ...
        async def force_flush(self, context): ...
        async def shutdown(self, context): ...

    assert verify(Asynchronous) is Asynchronous
    assert asynchronous_operations(Asynchronous) == {"export", "force_flush", "shutdown"}
    assert asynchronous_operations(Whole) == frozenset()


@pytest.mark.parametrize("name", ["temporality", "aggregation"])
def test_the_two_look_ups_must_not_be_async(name):
    async def answer(self, instrument_kind): ...

    text = problem(misfit(**{name: answer}))
    assert text.startswith(f"{__name__}.Misfit.{name} is async; it must be a plain function")
    assert place(answer) in text


@pytest.mark.parametrize("name", ["temporality", "aggregation", "export", "force_flush", "shutdown"])
def test_a_missing_operation_is_named(name):
    members = {key: value for key, value in vars(Whole).items() if inspect.isfunction(value) and key != name}
    text = problem(type("Part", (), {"__module__": __name__, **members}))
    assert text.startswith(f"{__name__}.Part has no operation {name!r}; subclass exporter_core.Exporter")


def test_a_missing_operation_names_the_file_and_line_of_the_class():
    class Part:
        def temporality(self, instrument_kind): ...
        def aggregation(self, instrument_kind): ...
        def force_flush(self, context): ...
        def shutdown(self, context): ...

    assert f"({__file__}:{inspect.getsourcelines(Part)[1]})" in problem(Part)


def test_a_class_with_no_operation_has_five_problems():
    with pytest.raises(ContractError) as caught:
        verify(type("Nothing", (), {}))
    assert len(str(caught.value).splitlines()) == 5


def test_an_abstract_operation_is_a_problem():
    class Unfinished(Exporter[ExporterConfig]):
        """Has no export."""

    text = problem(Unfinished)
    assert "Unfinished.export is abstract: an exporter has to implement it" in text
    assert __file__ in text


def export_with_default(self, context, metrics=None): ...
def export_with_context_default(self, contxt=None): ...
def export_with_star(self, *args): ...
def export_with_stars(self, context, metrics, **more): ...
def export_with_keyword_only(self, context, metrics, *, compress): ...
def export_with_optional_keyword_only(self, context, metrics, *, compress=True): ...
def export_with_other_name(self, context, data): ...
def export_with_swapped_names(self, metrics, context): ...
def export_with_one_too_many(self, context, metrics, more): ...
def export_that_yields(self, context, metrics):
    yield


async def export_that_yields_asynchronously(self, context, metrics):
    yield


SIGNATURES = {
    export_with_default: "gives the parameter 'metrics' a default",
    export_with_context_default: "has the parameter 'contxt' where 'context' belongs",
    export_with_star: "takes *args: name the parameters",
    export_with_stars: "takes **more: name the parameters",
    export_with_keyword_only: "has the keyword-only parameter 'compress'",
    export_with_optional_keyword_only: "has the keyword-only parameter 'compress'",
    export_with_other_name: "has the parameter 'data' where 'metrics' belongs",
    export_with_one_too_many: "has the parameter 'more', one too many",
    export_that_yields: "is a generator; an operation returns when it is done",
    export_that_yields_asynchronously: "is a generator; an operation returns when it is done",
}


def place(function: Any) -> str:
    code = function.__code__
    return f"({code.co_filename}:{code.co_firstlineno})"


@pytest.mark.parametrize("function", SIGNATURES, ids=lambda function: function.__name__)
def test_a_signature_that_does_not_fit_is_said_with_class_method_file_and_line(function):
    text = problem(misfit(export=function))
    assert text.startswith(f"{__name__}.Misfit.export {SIGNATURES[function]}")
    assert text.endswith(place(function))


def test_what_the_contract_has_stands_in_the_problem():
    assert "the contract has export(self, context, metrics)" in problem(misfit(export=export_with_other_name))
    assert "the contract has temporality(self, instrument_kind)" in problem(misfit(temporality=lambda self, kind: None))


def test_every_problem_is_said_in_one_pass():
    with pytest.raises(ContractError) as caught:
        verify(misfit(export=export_with_swapped_names, force_flush=None, shutdwn=export_with_star))
    lines = str(caught.value).splitlines()
    assert len(lines) == 4
    assert all(f"{__name__}.Misfit" in line for line in lines)


def test_a_method_without_self_does_not_fit():
    def export(): ...

    assert "takes no 'self'" in problem(misfit(export=export))


@pytest.mark.parametrize(
    ("member", "kind"),
    [
        (staticmethod(lambda context, metrics: None), "staticmethod"),
        (classmethod(lambda cls, context, metrics: None), "classmethod"),
        (property(lambda self: print), "property"),
        (functools.partial(print), "partial"),
        (functools.partialmethod(export_with_other_name, data=1), "partialmethod"),
        (len, "builtin_function_or_method"),
        ("text", "str"),
        (Whole, "type"),
    ],
)
def test_an_operation_that_is_not_a_plain_method_does_not_fit(member, kind):
    text = problem(misfit(export=member))
    assert text.startswith(f"{__name__}.Misfit.export is a {kind}; an operation is a plain method")


def test_where_a_static_method_stands_is_said():
    text = problem(misfit(export=staticmethod(export_with_other_name)))
    assert text.endswith(place(export_with_other_name))


def wrapped_with(wrapper: Any) -> Any:
    return functools.wraps(Whole.export)(wrapper)


def test_a_decorated_operation_is_judged_by_what_it_wraps():
    fits = misfit(export=wrapped_with(lambda *args, **kwargs: None))
    assert verify(fits) is fits
    text = problem(misfit(export=functools.wraps(export_with_other_name)(lambda *args: None)))
    assert "has the parameter 'data' where 'metrics' belongs" in text
    assert text.endswith(place(export_with_other_name))


def test_a_decorator_that_cannot_take_the_arguments_does_not_fit():
    text = problem(misfit(export=wrapped_with(lambda self, context: None)))
    assert "is decorated by a function that cannot be called with (self, context, metrics)" in text


def test_a_signature_that_cannot_be_read_is_a_problem():
    def export(self, context, metrics): ...

    export.__signature__ = "nonsense"
    assert "has a signature that cannot be read" in problem(misfit(export=export))


@pytest.mark.parametrize("name", ["exprt", "Export", "exports", "force_flsh", "forceFlush", "shut_down", "temporalty"])
def test_a_public_method_that_is_nearly_an_operation_does_not_fit(name):
    def method(self, context): ...

    text = problem(misfit(**{name: method}))
    assert f"Misfit.{name} is nearly the operation" in text
    assert "rename it" in text
    assert text.endswith(place(method))


@pytest.mark.parametrize("name", ["report", "flush", "_export", "__exports", "explore", "close"])
def test_a_method_of_another_name_is_the_exporters_own(name):
    fits = misfit(**{name: lambda self: None})
    assert verify(fits) is fits


def test_a_value_that_is_nearly_named_like_an_operation_is_no_method():
    fits = misfit(exports=3)
    assert verify(fits) is fits


@pytest.mark.parametrize("options", [{"wrapper": True}, {"hookwrapper": True}, {"optionalhook": True}])
def test_pluggy_options_that_change_the_call_do_not_fit(options):
    def export(self, context, metrics):
        yield

    def plain(self, context, metrics): ...

    function = export if "optionalhook" not in options else plain
    with pytest.raises(ContractError) as caught:
        verify(misfit(export=hookimpl(**options)(function)))
    assert f"is decorated with hookimpl({next(iter(options))}=...)" in str(caught.value)


def test_an_operation_redirected_to_another_name_does_not_fit():
    def export(self, context): ...

    assert "hookimpl(specname=...)" in problem(misfit(export=hookimpl(specname="shutdown")(export)))


def test_a_plain_hookimpl_fits():
    class Decorated(Whole):
        @hookimpl
        def export(self, context, metrics): ...

    assert verify(Decorated) is Decorated


@pytest.mark.parametrize("thing", [None, 3, "text", Whole(), lambda config: Whole()])
def test_what_is_not_a_class_does_not_fit(thing):
    assert "is not a class; an exporter entry point names a class with the operations" in problem(thing)


def test_a_class_without_a_source_file_is_still_named():
    namespace: dict[str, Any] = {}
    exec("class Sourceless:\n    def export(self, context, wrong): ...", namespace)  # noqa: S102 - a class that has no file
    with pytest.raises(ContractError, match=r"Sourceless\.export has the parameter 'wrong'"):
        verify(namespace["Sourceless"])
