"""The HTTP client as the author of an exporter has it: requests, credentials, policies, and one timeout for several."""

from __future__ import annotations

import base64
import gzip
import re

import pytest
from pydantic import ValidationError

from exporter_core import Context, DeadlineExceededError, ExporterError, PartialSuccessError
from exporter_core.authoring import GaveUpError, RetryableError
from exporter_core.net import (
    AuthOptions,
    CompressionOptions,
    HttpAnswer,
    HttpClient,
    HttpOptions,
    NetworkExporter,
    ProxyOptions,
)


class EveryOption(AuthOptions, ProxyOptions, CompressionOptions, HttpOptions):
    """All that there is."""


@pytest.fixture
def client_of():
    """Makes clients, closed after the test."""
    made = []

    def make(endpoint, policy=None, model=EveryOption, **options):
        options = {"retry": {"initial_interval": 1, "max_interval": 1}, **options}
        policies = {} if policy is None else {"policy": policy}
        made.append(HttpClient(model(endpoint=endpoint, **options), user_agent="tests/1", **policies))
        return made[-1]

    yield make
    for client in made:
        client.close()


def post(client, context, body=b"data", **headers):
    return client.post(
        context,
        body,
        content_type="text/plain",
        headers={name.replace("_", "-"): value for name, value in headers.items()},
    )


# --- what is sent ----------------------------------------------------------------------------------------------------


def test_a_body_is_posted_and_the_answer_has_its_headers(serve, client_of, context):
    server = serve(answers=[b"HTTP/1.1 201 Made\r\nX-Written: 3\r\nX-Written: 4\r\nContent-Length: 2\r\n\r\nok"])
    answer = post(client_of(f"http://127.0.0.1:{server.port}"), context)
    assert (answer.status, answer.reason, answer.body, answer.ok) == (201, "Made", b"ok", True)
    assert answer.headers == {"x-written": "3", "content-length": "2"}


def test_requests_follow_each_other_over_one_connection_in_order(sink, client_of, context):
    client = client_of(sink.endpoint)
    for number in range(4):
        post(client, context, b"%d" % number)
    assert [request.body for request in sink.requests()] == [b"0", b"1", b"2", b"3"]
    assert len(sink.connections()) == 1


def test_headers_of_a_request_override_those_of_the_options_and_these_the_usual_ones(sink, client_of, context):
    client = client_of(
        sink.endpoint, headers=[{"name": "User-agent", "value": "mine"}, {"name": "X-Scope", "value": "all"}]
    )
    post(client, context, x_scope="one", X_Version="2.0")
    post(client, context)
    first, second = sink.requests()
    assert [first.header(name) for name in ("user-agent", "x-scope", "x-version")] == ["mine", "one", "2.0"]
    assert [second.header(name) for name in ("user-agent", "x-scope", "x-version")] == ["mine", "all", None]
    assert first.header("content-type") == "text/plain"


def test_gzip_is_an_option_of_those_who_have_it_and_others_compress_by_themselves(serve, client_of, context):
    def keep(connection, _number):
        while request := read(connection):
            requests.append(request)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    def read(connection):
        return connection.recv(65536)

    requests: list[bytes] = []
    url = f"http://127.0.0.1:{serve(keep).port}/"
    post(client_of(url, compression="gzip"), context, b"x" * 1000)
    post(client_of(url, model=HttpOptions), context, b"snapped", Content_Encoding="snappy")
    (first, packed), (second, body) = (request.split(b"\r\n\r\n", 1) for request in requests)
    assert gzip.decompress(packed) == b"x" * 1000
    assert b"Content-Encoding: gzip\r\n" in first
    assert body == b"snapped"
    assert b"Content-Encoding: snappy\r\n" in second


# --- credentials -----------------------------------------------------------------------------------------------------

TOKEN = base64.b64encode(b"alice:p4ssw0rd").decode()


@pytest.mark.parametrize(
    ("options", "sent", "hidden"),
    [
        ({"basic_auth": {"username": "alice", "password": "p4ssw0rd"}}, f"Basic {TOKEN}", ["p4ssw0rd", TOKEN]),
        ({"bearer_token": "t0k3n-of-ours"}, "Bearer t0k3n-of-ours", ["t0k3n-of-ours"]),
        ({"headers_list": "Authorization=Key%20t0k3n-of-ours"}, "Key t0k3n-of-ours", ["t0k3n-of-ours"]),
    ],
)
def test_credentials_are_sent_and_never_shown_where_a_server_echoes_them(
    serve, client_of, context, read_request, options, sent, hidden
):
    def echoing(connection, _number):
        requests.append(read_request(connection))
        body = " ".join([sent, *hidden]).encode()
        head = f"HTTP/1.1 403 {sent}\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)

    requests: list[bytes] = []
    client = client_of(f"http://127.0.0.1:{serve(echoing).port}/", **options)
    with pytest.raises(ExporterError) as caught:
        post(client, context)
    assert f"Authorization: {sent}\r\n".encode() in requests[0]
    assert not [secret for secret in hidden if secret in str(caught.value)]
    assert "***" in str(caught.value)


def test_a_proxy_of_the_options_goes_before_the_environments(proxy, sink, client_of, context, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    post(client_of(f"{sink.endpoint}/", proxy=f"http://alice:s3cret@127.0.0.1:{proxy.port}"), context)
    (request,) = proxy.requests
    assert b"Proxy-Authorization: Basic YWxpY2U6czNjcmV0\r\n" in request
    assert len(sink.requests()) == 1


# --- what an answer means --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "attempts"), [(429, 2), (502, 2), (503, 2), (504, 2), (400, 1), (500, 1)])
def test_unless_a_policy_says_otherwise_a_busy_server_is_asked_again(sink, client_of, context, status, attempts):
    sink.script(f"status:{status}", then="ok")
    try:
        post(client_of(sink.endpoint), context)
    except ExporterError as error:
        assert str(error).startswith(f"{sink.endpoint}/: {status} ")  # noqa: PT017 - not for every status
    assert len(sink.requests()) == attempts


def test_a_policy_decides_what_is_asked_again_and_what_is_success(sink, client_of, context):
    def policy(answer: HttpAnswer) -> None:
        if answer.status >= 500:
            raise answer.failure("later", retryable=True)
        if answer.status == 409:
            return
        raise answer.failure()

    sink.script("status:500", "status:409", then="ok")
    client = client_of(sink.endpoint, policy)
    assert post(client, context).status == 409
    with pytest.raises(ExporterError, match=r"200 OK$"):
        post(client, context)
    assert len(sink.requests()) == 3
    assert len(sink.connections()) == 1


@pytest.mark.parametrize("raised", [ExporterError, RetryableError])
def test_what_a_policy_raises_by_itself_gets_the_url_and_loses_the_secrets(sink, client_of, context, raised):
    def policy(answer: HttpAnswer) -> None:
        raise raised("no t0k3n-of-ours\nplease")

    client = client_of(sink.endpoint, policy, bearer_token="t0k3n-of-ours", retry={"enabled": False})  # noqa: S106 - fake
    with pytest.raises(ExporterError) as caught:
        post(client, context)
    assert str(caught.value) == f"{sink.endpoint}/: no *** please"


def test_a_policy_may_raise_that_some_points_were_refused(sink, client_of, context):
    def policy(answer: HttpAnswer) -> None:
        raise PartialSuccessError("2 points too old", rejected_points=2)

    with pytest.raises(PartialSuccessError, match=r"^http://.*/: 2 points too old$") as caught:
        post(client_of(sink.endpoint, policy), context)
    assert caught.value.rejected_points == 2


def test_a_wait_that_the_server_asks_for_is_kept_to_or_given_up_at_once(sink, client_of):
    sink.script(then="retry-after:3600")
    with pytest.raises(GaveUpError, match="no time left to retry") as caught:
        post(client_of(sink.endpoint), Context.with_timeout(20))
    assert isinstance(caught.value.__cause__, RetryableError)
    assert caught.value.__cause__.retry_after == 3600
    assert len(sink.requests()) == 1


def test_a_redirect_is_an_error_that_names_the_place(serve, client_of, context):
    server = serve(answers=[b"HTTP/1.1 302 Found\r\nLocation: https://elsewhere/\r\nContent-Length: 0\r\n\r\n"])
    with pytest.raises(ExporterError, match="302 Found: the redirect to https://elsewhere/ is not followed"):
        post(client_of(f"http://127.0.0.1:{server.port}/"), context)


# --- time ------------------------------------------------------------------------------------------------------------


def test_the_requests_of_an_export_share_one_timeout(sink, context, with_more_time):
    class Twice(NetworkExporter[HttpOptions, HttpClient]):
        def deliver(self, context, metrics):
            for body in metrics:
                post(self.client, context, body)

    def attempt(seconds):
        config = HttpOptions(endpoint=sink.endpoint, timeout=round(seconds * 1000))
        exporter = Twice(config, HttpClient(config, user_agent="tests/1"))
        sink.script("ok", then="hang")
        with pytest.raises(DeadlineExceededError, match=rf" \(timeout: {seconds:g} s\)$") as caught:
            exporter.export(context, [b"one", b"two"])
        assert not context.done
        assert exporter.destination().location == f"{sink.endpoint}/"
        exporter.shutdown(context)
        sink.await_closed()
        bodies = [request.body for request in sink.requests()]
        return bodies[-1:] == [b"two"] and "timed out while waiting for the answer" in str(caught.value)

    with_more_time(attempt, 0.2)


# --- options ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "endpoint"),
        ({"endpoint": "ftp://host/"}, "expected a URL such as http://host:8080/path"),
        ({"proxy": "https://proxy:3128"}, "expected the URL of an HTTP proxy such as http://proxy:3128"),
        ({"proxy": "socks5://alice:s3cret@proxy:1080"}, "expected the URL of an HTTP proxy"),
        ({"bearer_token": "s3cret\nX: y"}, "expected the value of a header on one line"),
        (
            {"bearer_token": "s3cret", "basic_auth": {"username": "alice", "password": "s3cret"}},
            "give basic_auth or bearer_token, not both",
        ),
        ({"endpoint": "http://host/", "tls": {"ca_file": "ca.pem"}}, "tls.ca_file needs an endpoint with TLS"),
    ],
)
def test_wrong_options_are_refused_without_their_secrets(options, message):
    with pytest.raises(ValidationError, match=message) as caught:
        EveryOption(**({"endpoint": "http://host/"} if options else {}) | options)
    assert "s3cret" not in str(caught.value)


def test_null_is_the_default_of_every_option_that_has_one():
    given = dict.fromkeys(name for name, field in EveryOption.model_fields.items() if not field.is_required())
    assert EveryOption(endpoint="http://host/", **given) == EveryOption(endpoint="http://host/")


@pytest.mark.parametrize("secret", ["hunter22", "YWxpY2U6aHVudGVyMjI=", "k=abc1234567", "abc1234567"])
@pytest.mark.parametrize("before", [0, 4080, 4090, 4095, 32760])
def test_secrets_in_an_answer_of_any_length_are_masked(serve, make_exporter, context, data, secret, before):
    # Spaces become one, so that the place where the answer is cut shows.
    body = f"{' ' * before}{secret * 1000}".encode()
    server = serve(answers=[b"HTTP/1.1 400 Bad\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)])
    with pytest.raises(ExporterError) as caught:
        make_exporter(f"http://alice:hunter22@127.0.0.1:{server.port}/?k=abc1234567").export(context, data)
    assert re.search(r": 400 Bad:[ *.]*$", str(caught.value))
