"""Proxies by environment, as urllib has them."""

import pytest

from exporter_core import ExporterError
from exporter_core.net import proxy_for


def test_http_goes_through_the_proxy_with_the_whole_url(proxy, sink, make_exporter, context, data, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://alice:s3cret@127.0.0.1:{proxy.port}")
    url = f"{sink.endpoint}/path?key=1"
    exporter = make_exporter(url)
    for _ in range(2):
        exporter.export(context, data)
    assert len(sink.requests()) == 2
    assert proxy.connections == 1
    for request in proxy.requests:
        assert request.startswith(f"POST {url} HTTP/1.1\r\n".encode())
        assert b"Proxy-Authorization: Basic YWxpY2U6czNjcmV0\r\n" in request


def test_https_goes_through_a_tunnel_and_the_proxy_sees_nothing_of_it(
    proxy, serve, make_exporter, certificates, context, data, monkeypatch
):
    server = serve(wrap=certificates.wrap)
    monkeypatch.setenv("https_proxy", f"alice:s3cret@127.0.0.1:{proxy.port}")
    exporter = make_exporter(
        f"https://localhost:{server.port}/",
        tls={"ca_file": certificates.ca_file},
        headers=[{"name": "api-key", "value": "t0ken"}],
    )
    for _ in range(2):
        exporter.export(context, data)
    (request,) = proxy.requests
    assert request.startswith(f"CONNECT localhost:{server.port} HTTP/1.1\r\n".encode())
    assert b"Proxy-Authorization: Basic YWxpY2U6czNjcmV0\r\n" in request
    assert b"t0ken" not in request
    assert server.connections == 1


@pytest.mark.parametrize("bypassed", ["127.0.0.1", "*", "127.0.0.1:{port},other"])
def test_what_no_proxy_names_is_connected_to_directly(proxy, sink, make_exporter, context, data, monkeypatch, bypassed):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
    monkeypatch.setenv("no_proxy", bypassed.format(port=sink.port))
    make_exporter(sink.endpoint).export(context, data)
    assert len(sink.requests()) == 1
    assert proxy.connections == 0


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "refuses to connect to it: 407 Proxy Auth"),
        (b"HTTP/1.1 503 Busy\r\n\r\n", r"refuses to connect to it: 503 Busy$"),
        (b"", "broke off the connection"),
        (b"nonsense\r\n\r\n", "broke off the connection"),
    ],
)
def test_a_proxy_that_refuses_is_named_without_its_credentials(
    serve, make_exporter, context, data, monkeypatch, read_request, answer, message
):
    def refusing(connection, number):
        read_request(connection)
        connection.sendall(answer)

    server = serve(refusing)
    monkeypatch.setenv("https_proxy", f"http://alice:s3cret@127.0.0.1:{server.port}")
    with pytest.raises(ExporterError, match=message) as caught:
        make_exporter("https://collector.test/", retry={"enabled": False}).export(context, data)
    assert f"the proxy http://127.0.0.1:{server.port}/" in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "exceptions", "kind", "direct"),
    [
        ("127.0.0.1", "127.0.0.0/8", "no_proxy", True),
        ("127.0.0.1", "10.0.0.0/8, 127.0.0.1/8", "no_proxy", True),
        ("10.1.2.3", "127.0.0.0/8,nonsense/8,10.0.0.0/99", "no_proxy", False),
        ("::1", "::1", "no_proxy", True),
        ("::1", "[::1]", "no_proxy", True),
        ("::1", "::/64", "no_proxy", True),
        ("collector.test", ".test", "no_proxy", True),
        ("collector.test", "127.0.0.0/8", "no_proxy", False),
        ("collector.test", "collector.test", "no_grpc_proxy", True),
        ("10.1.2.3", "10.0.0.0/8", "no_grpc_proxy", True),
        ("collector.test", "other.test", "no_grpc_proxy", False),
    ],
)
def test_exceptions_are_names_addresses_and_networks(monkeypatch, host, exceptions, kind, direct):
    monkeypatch.setenv("grpc_proxy", "http://proxy.test:3128")
    monkeypatch.setenv(kind, exceptions)
    assert (proxy_for(host, 4317, "grpc", "https") is None) is direct


def test_what_a_proxy_says_is_shown_without_its_credentials(
    serve, make_exporter, context, data, monkeypatch, read_request
):
    def refusing(connection, _number):
        read_request(connection)
        connection.sendall(b"HTTP/1.1 403 not alice with s3cr%t or YWxpY2U6czNjciV0\r\n\r\n")

    monkeypatch.setenv("https_proxy", f"http://alice:s3cr%25t@127.0.0.1:{serve(refusing).port}")
    with pytest.raises(ExporterError, match=r"403 not alice with \*\*\* or \*\*\*$"):
        make_exporter("https://collector.test/").export(context, data)


def test_a_proxy_of_another_kind_is_an_error(make_exporter, context, data, monkeypatch):
    monkeypatch.setenv("all_proxy", "socks5://alice:s3cret@127.0.0.1:1080")
    with pytest.raises(ExporterError, match=r"the environment's proxy \(all_proxy\) is not supported") as caught:
        make_exporter("http://collector.test/").export(context, data)
    assert "s3cret" not in str(caught.value)
