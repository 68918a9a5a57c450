"""TLS and mutual TLS, with certificates made here."""

import ssl

import pytest

from exporter_core import ExporterError
from exporter_core.net import TlsOptions, tls_context


def test_a_server_whose_certificate_is_of_the_ca_is_trusted(serve, make_exporter, certificates, context, data):
    server = serve(wrap=certificates.wrap)
    for host in ("127.0.0.1", "localhost"):
        exporter = make_exporter(f"https://{host}:{server.port}/", tls={"ca_file": certificates.ca_file})
        for _ in range(2):
            exporter.export(context, data)
        exporter.shutdown(context)
    assert server.connections == 2


@pytest.mark.parametrize(
    ("host", "trusted", "message"),
    [
        ("127.0.0.1", False, "TLS: certificate verify failed: "),
        ("127.0.0.2", True, "TLS: certificate verify failed: IP address mismatch"),
    ],
)
def test_another_certificate_is_an_error_for_good(
    serve, make_exporter, certificates, context, data, host, trusted, message
):
    server = serve(wrap=certificates.wrap, host="0.0.0.0")  # noqa: S104 - all addresses of the loopback interface
    tls = {"ca_file": certificates.ca_file} if trusted else {}
    with pytest.raises(ExporterError, match=message):
        make_exporter(f"https://{host}:{server.port}/", tls=tls).export(context, data)
    assert server.connections == 1


def test_a_server_that_speaks_no_tls_is_an_error(serve, make_exporter, context, data):
    server = serve(lambda connection, number: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
    with pytest.raises(ExporterError, match=r"TLS: (wrong version number|record layer failure)"):
        make_exporter(f"https://127.0.0.1:{server.port}/").export(context, data)


def test_mutual_tls_shows_the_clients_certificate(serve, make_exporter, certificates, context, data):
    server = serve(wrap=certificates.wrap_mutual)
    tls = {
        "ca_file": certificates.ca_file,
        "cert_file": certificates.client_cert_file,
        "key_file": certificates.client_key_file,
    }
    make_exporter(f"https://127.0.0.1:{server.port}/", tls=tls).export(context, data)
    assert certificates.seen == ["client"]


def test_mutual_tls_without_a_certificate_is_refused(serve, make_exporter, certificates, context, data):
    server = serve(wrap=certificates.wrap_mutual)
    exporter = make_exporter(
        f"https://127.0.0.1:{server.port}/", tls={"ca_file": certificates.ca_file}, retry={"enabled": False}
    )
    # Which of the two it is, is a matter of who is first: the alert, or the closing of the socket that it came over.
    with pytest.raises(ExporterError, match=r"TLS: .*certificate required|closed the connection"):
        exporter.export(context, data)


def test_files_that_cannot_be_used_are_named_when_the_exporter_is_made(make_exporter, certificates, tmp_path):
    endpoint = "https://127.0.0.1/"
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nonsense")
    pair = {"cert_file": certificates.client_cert_file, "key_file": str(certificates.encrypted_key_file)}
    for tls, message in [
        ({"ca_file": "/missing.pem"}, r"tls: ca_file '/missing.pem' cannot be used: No such file or directory"),
        ({"ca_file": str(nonsense)}, r"nonsense.pem' cannot be used: no certificate or crl found"),
        ({"cert_file": str(nonsense), "key_file": str(nonsense)}, r"tls: cert_file '.*' with key_file '.*' cannot be"),
        (pair, "the key is encrypted, and there is no option for its password"),
    ]:
        with pytest.raises(ExporterError, match=message):
            make_exporter(endpoint, tls=tls)


def test_the_oldest_versions_of_tls_are_not_spoken(certificates):
    made = tls_context(TlsOptions(ca_file=certificates.ca_file))
    assert made.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert made.verify_mode is ssl.CERT_REQUIRED
    assert made.check_hostname
