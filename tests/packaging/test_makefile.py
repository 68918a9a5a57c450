"""The Makefile on machines whose certificates are the system's own, or those that pip is told of."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

NAMES = ("SSL_CERT_FILE", "PIP_CERT", "UV_SYSTEM_CERTS")


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
@pytest.mark.parametrize(
    ("given", "seen"),
    [
        ({}, {"UV_SYSTEM_CERTS": "true"}),
        ({"UV_SYSTEM_CERTS": "false"}, {"UV_SYSTEM_CERTS": "false"}),
        ({"PIP_CERT": "/a"}, {"UV_SYSTEM_CERTS": "true", "PIP_CERT": "/a", "SSL_CERT_FILE": "/a"}),
        ({"SSL_CERT_FILE": "/b"}, {"UV_SYSTEM_CERTS": "true", "PIP_CERT": "/b", "SSL_CERT_FILE": "/b"}),
        (
            {"PIP_CERT": "/a", "SSL_CERT_FILE": "/b"},
            {"UV_SYSTEM_CERTS": "true", "PIP_CERT": "/a", "SSL_CERT_FILE": "/b"},
        ),
    ],
)
def test_pip_and_uv_trust_the_same_certificates(root, given, seen):
    environment = {name: value for name, value in os.environ.items() if name not in NAMES and name != "MAKEFLAGS"}
    program = "include Makefile\nprint-environment: ; @env\n"
    done = subprocess.run(
        ["make", "-s", "-f", "-", "print-environment"],
        input=program,
        cwd=root,
        env={**environment, **given},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    found = dict(line.partition("=")[::2] for line in done.stdout.splitlines())
    assert {name: found[name] for name in NAMES if name in found} == seen
