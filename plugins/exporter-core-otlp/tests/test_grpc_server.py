"""otlp_grpc against gRPC servers of a test's own: TLS, proxies, sockets, and answers that a sink does not give."""

import contextlib
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsPartialSuccess,
    ExportMetricsServiceResponse,
)

from exporter_core import ExporterError, PluginLoadError, load_exporter
from exporter_core.otlp import decode


@pytest.fixture
def serve_grpc():
    """Starts servers; ``serve_grpc(answer)`` gives the port, and ``answer(request, context)`` what is answered."""
    started = []

    def start(answer=lambda _request, _context: b"", credentials=None, address="127.0.0.1:0", compression=None):
        class Handler(grpc.GenericRpcHandler):
            def service(self, details):
                if details.method == "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export":
                    return grpc.unary_unary_rpc_method_handler(answer)
                return None

        server = grpc.server(ThreadPoolExecutor(2), handlers=[Handler()], compression=compression)
        started.append(server)
        add = server.add_insecure_port if credentials is None else server.add_secure_port
        port = add(*((address,) if credentials is None else (address, credentials)))
        server.start()
        return port

    yield start
    for server in started:
        server.stop(None).wait()


class Requests(list):
    """Takes every request, and keeps it."""

    def __call__(self, request, _context):
        self.append(request)
        return b""


def failed(exporter, context, data):
    with pytest.raises(ExporterError) as caught:
        exporter.export(context, data)
    return str(caught.value)


# --- TLS -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def plain_tls(certificates):
    return grpc.ssl_server_credentials([(certificates.server_key, certificates.server_chain)])


@pytest.fixture
def mutual_tls(certificates):
    authority = Path(certificates.ca_file).read_bytes()
    return grpc.ssl_server_credentials(
        [(certificates.server_key, certificates.server_chain)], authority, require_client_auth=True
    )


@pytest.mark.parametrize("endpoint", ["https://127.0.0.1:{}", "https://localhost:{}", "localhost:{}"])
def test_a_server_whose_certificate_is_of_the_ca_is_trusted(
    serve_grpc, plain_tls, make_grpc_exporter, certificates, context, data, endpoint
):
    requests = Requests()
    port = serve_grpc(requests, plain_tls)
    make_grpc_exporter(endpoint.format(port), tls={"ca_file": certificates.ca_file}).export(context, data)
    assert len(requests) == 1


def test_a_certificate_of_another_ca_is_an_error_for_good(serve_grpc, plain_tls, make_grpc_exporter, context, data):
    endpoint = f"https://127.0.0.1:{serve_grpc(credentials=plain_tls)}"
    message = failed(make_grpc_exporter(endpoint, timeout=0), context, data)
    assert message == f"{endpoint}: TLS: certificate verify failed: unable to get local issuer certificate"


def test_a_server_that_does_not_offer_http_2_is_said_not_to(serve, certificates, make_grpc_exporter, context, data):
    def alert(connection, number):
        connection.recv(65536)
        connection.sendall(bytes.fromhex("15030100020278"))  # TLS's fatal alert of this name

    for server in (serve(alert), serve(lambda *_: None, wrap=certificates.wrap)):  # which chooses no protocol at all
        endpoint = f"https://127.0.0.1:{server.port}"
        message = failed(make_grpc_exporter(endpoint, tls={"ca_file": certificates.ca_file}), context, data)
        assert message == f"{endpoint}: TLS: the server does not offer HTTP/2 (no application protocol)"


def test_authorities_that_the_system_trusts_are_trusted(
    serve_grpc, plain_tls, make_grpc_exporter, certificates, context, data, monkeypatch
):
    monkeypatch.setenv("SSL_CERT_FILE", certificates.ca_file)
    requests = Requests()
    make_grpc_exporter(f"https://127.0.0.1:{serve_grpc(requests, plain_tls)}").export(context, data)
    assert len(requests) == 1


def test_mutual_tls_shows_the_clients_certificate(
    serve_grpc, mutual_tls, make_grpc_exporter, certificates, context, data
):
    names = []

    def answer(_request, context):
        names.extend(context.auth_context()["x509_subject_alternative_name"])
        return b""

    tls = {
        "ca_file": certificates.ca_file,
        "cert_file": certificates.client_cert_file,
        "key_file": certificates.client_key_file,
    }
    make_grpc_exporter(f"https://127.0.0.1:{serve_grpc(answer, mutual_tls)}", tls=tls).export(context, data)
    assert names == [b"client"]


def test_mutual_tls_without_a_certificate_is_refused(
    serve_grpc, mutual_tls, make_grpc_exporter, certificates, context, data
):
    requests = Requests()
    endpoint = f"https://127.0.0.1:{serve_grpc(requests, mutual_tls)}"
    exporter = make_grpc_exporter(endpoint, tls={"ca_file": certificates.ca_file}, retry={"enabled": False})
    assert failed(exporter, context, data).startswith(f"{endpoint}: ")
    assert requests == []


def test_without_a_scheme_insecure_means_no_tls(serve_grpc, make_grpc_exporter, context, data):
    requests = Requests()
    make_grpc_exporter(f"127.0.0.1:{serve_grpc(requests)}", tls={"insecure": True}).export(context, data)
    assert len(requests) == 1


def test_files_that_cannot_be_used_are_named_when_the_exporter_is_made():
    options = {"endpoint": "https://127.0.0.1:4317", "tls": {"ca_file": "/missing.pem"}}
    with pytest.raises(PluginLoadError, match=r"tls: ca_file '/missing.pem' cannot be used: No such file or directory"):
        load_exporter("otlp_grpc", options)


# --- ways to a server ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["http_proxy", "https_proxy", "grpc_proxy"])
def test_a_proxy_of_the_environment_is_gone_through(
    serve_grpc, proxy, make_grpc_exporter, context, data, monkeypatch, name
):
    requests = Requests()
    port = serve_grpc(requests)
    monkeypatch.setenv(name, f"http://alice:s3cret@127.0.0.1:{proxy.port}")
    exporter = make_grpc_exporter(f"http://127.0.0.1:{port}")
    exporter.export(context, data)
    exporter.export(context, data)
    assert len(requests) == 2
    (request,) = proxy.requests
    assert request.startswith(f"CONNECT 127.0.0.1:{port} HTTP/1.".encode())
    assert b"YWxpY2U6czNjcmV0" in request


def test_what_the_server_says_while_the_proxy_still_answers_is_not_lost(
    serve_grpc, serve, read_request, make_grpc_exporter, context, data_of, monkeypatch
):
    """A gRPC server speaks first, and what it says may come in one piece with the proxy's answer."""

    def copy(source, destination):
        with contextlib.suppress(OSError):
            while piece := source.recv(65536):
                destination.sendall(piece)
            destination.shutdown(socket.SHUT_WR)

    def proxying(connection, _number):
        read_request(connection)
        with socket.create_connection(("127.0.0.1", port)) as server:
            connection.sendall(b"HTTP/1.1 200 Connected\r\nX: y\r\n\r\n" + server.recv(65536))

            back = threading.Thread(target=copy, args=(server, connection))
            back.start()
            copy(connection, server)
            back.join()

    requests = Requests()
    port = serve_grpc(requests)
    monkeypatch.setenv("grpc_proxy", f"http://127.0.0.1:{serve(proxying).port}")
    make_grpc_exporter(f"http://127.0.0.1:{port}").export(context, data_of(range(20_000)))
    assert len(requests) == 1


def test_no_proxy_is_gone_through_for_hosts_that_the_environment_excepts(
    serve_grpc, proxy, make_grpc_exporter, context, data, monkeypatch
):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
    monkeypatch.setenv("no_proxy", "localhost,127.0.0.1")
    make_grpc_exporter(f"http://127.0.0.1:{serve_grpc()}").export(context, data)
    assert proxy.requests == []


def test_a_unix_socket_is_a_server_too(serve_grpc, make_grpc_exporter, context, data, tmp_path):
    requests = Requests()
    serve_grpc(requests, address=f"unix:{tmp_path}/otlp.sock")
    make_grpc_exporter(f"unix://{tmp_path}/otlp.sock", tls={"insecure": True}).export(context, data)
    assert len(requests) == 1


# --- requests and answers --------------------------------------------------------------------------------------------


def test_a_batch_beyond_the_limit_of_a_request_is_sent_as_several(serve_grpc, make_grpc_exporter, context, data_of):
    requests = Requests()
    exporter = make_grpc_exporter(f"http://127.0.0.1:{serve_grpc(requests)}", max_request_bytes=2000)
    exporter.export(context, data_of(range(100)))
    assert len(requests) > 1
    assert max(map(len, requests)) <= 2000
    values = [
        point.value
        for request in requests
        for point in decode(request).resource_metrics[0].scope_metrics[0].metrics[0].data.data_points
    ]
    assert values == list(range(100))


def test_advice_of_a_server_that_took_everything_is_logged(serve_grpc, make_grpc_exporter, context, data, caplog):
    partial_success = ExportMetricsPartialSuccess(error_message="use fewer attributes")
    answer = ExportMetricsServiceResponse(partial_success=partial_success).SerializeToString()
    make_grpc_exporter(f"http://127.0.0.1:{serve_grpc(lambda *_: answer)}").export(context, data)
    assert [record.getMessage() for record in caplog.records] == ["the server says: use fewer attributes"]


def test_an_answer_that_is_not_otlp_is_an_error(serve_grpc, make_grpc_exporter, context, data):
    endpoint = f"http://127.0.0.1:{serve_grpc(lambda *_: bytes((255, 255)))}"
    message = failed(make_grpc_exporter(endpoint), context, data)
    assert message == f"{endpoint}: OK, but the answer is not OTLP: not a ExportMetricsServiceResponse"


def test_an_answer_beyond_four_mebibytes_is_an_error_and_not_asked_for_again(
    serve_grpc, make_grpc_exporter, context, data
):
    requests = Requests()

    def answer(request, context):
        requests(request, context)
        return bytes(5 * 1024 * 1024)

    endpoint = f"http://127.0.0.1:{serve_grpc(answer)}"
    message = failed(make_grpc_exporter(endpoint), context, data)
    assert message == f"{endpoint}: the answer is longer than 4194304 bytes (max_response_size)"
    assert len(requests) == 1


def test_the_option_max_response_size_bounds_an_answer(serve_grpc, make_grpc_exporter, context, data):
    partial_success = ExportMetricsPartialSuccess(error_message="x" * 1000)
    answer = ExportMetricsServiceResponse(partial_success=partial_success).SerializeToString()
    for compression, said in ((None, "the answer is longer than 999"), (grpc.Compression.Gzip, "longer than 999")):
        endpoint = f"http://127.0.0.1:{serve_grpc(lambda *_: answer, compression=compression)}"
        exporter = make_grpc_exporter(endpoint, compression="gzip", max_response_size=999)
        assert f"{said} bytes (max_response_size)" in failed(exporter, context, data)


def test_an_answer_that_the_server_compresses_is_read(serve_grpc, make_grpc_exporter, context, data, caplog):
    partial_success = ExportMetricsPartialSuccess(error_message="use fewer attributes " * 50)
    answer = ExportMetricsServiceResponse(partial_success=partial_success).SerializeToString()
    port = serve_grpc(lambda *_: answer, compression=grpc.Compression.Gzip)
    make_grpc_exporter(f"http://127.0.0.1:{port}", compression="gzip").export(context, data)
    assert caplog.records[0].getMessage().startswith("the server says: use fewer attributes use")


def test_otlp_http_says_that_a_port_is_one_for_grpc(serve_grpc, make_exporter, context, data):
    endpoint = f"http://127.0.0.1:{serve_grpc()}/v1/metrics"
    message = failed(make_exporter(endpoint), context, data)
    assert message == f"{endpoint}: the server speaks HTTP/2, not HTTP/1.1; is that a port for gRPC?"


def test_a_server_without_the_service_is_an_error(serve_grpc, make_grpc_exporter, context, data):
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    message = failed(make_grpc_exporter(f"http://127.0.0.1:{port}"), context, data)
    server.stop(None).wait()
    assert message.startswith(f"http://127.0.0.1:{port}: UNIMPLEMENTED: ")


@pytest.mark.parametrize("details", [b"\xff\xff", Status(details=[AnyMessage(type_url="x")]).SerializeToString()])
def test_details_that_say_nothing_of_a_wait_are_passed_over(serve_grpc, make_grpc_exporter, context, data, details):
    def answer(_request, context):
        context.set_trailing_metadata((("grpc-status-details-bin", details),))
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "full")

    endpoint = f"http://127.0.0.1:{serve_grpc(answer)}"
    assert failed(make_grpc_exporter(endpoint), context, data) == f"{endpoint}: RESOURCE_EXHAUSTED: full"


def test_a_long_message_of_a_partial_success_is_cut(serve_grpc, make_grpc_exporter, context, data):
    partial = ExportMetricsPartialSuccess(rejected_data_points=1, error_message="://" * 400_000)
    answer = ExportMetricsServiceResponse(partial_success=partial).SerializeToString()
    endpoint = f"http://127.0.0.1:{serve_grpc(lambda _request, _context: answer)}"
    told = failed(make_grpc_exporter(endpoint), context, data)
    assert told.startswith("1 of 1 points were not taken: ://")
    assert len(told) < 600


def test_what_a_server_says_is_on_one_line_and_without_the_secrets_that_it_was_told(
    serve_grpc, make_grpc_exporter, context, data
):
    def answer(_request, context):
        key = dict(context.invocation_metadata())["api-key"]
        context.abort(grpc.StatusCode.PERMISSION_DENIED, f"no such key:\n{key}")

    endpoint = f"http://127.0.0.1:{serve_grpc(answer)}"
    exporter = make_grpc_exporter(endpoint, headers=[{"name": "api-key", "value": "s3cret-of-ours"}])
    assert failed(exporter, context, data) == f"{endpoint}: PERMISSION_DENIED: no such key: ***"
