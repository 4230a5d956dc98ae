"""What the web image promises, asked of a machine that was booted from it."""

from __future__ import annotations

import pytest
from testinfra.host import Host


@pytest.fixture(scope="module")
def systemd(host: Host) -> None:
    """Skips where systemd does not run, as in the sandbox."""
    if not host.file("/run/systemd/system").is_directory:
        pytest.skip("systemd does not run")


def test_it_says_which_build_it_is_and_on_which_it_is_built(host: Host) -> None:
    base, web = host.file("/etc/image-release").content_string.splitlines()[:2]

    assert base.startswith("base ")
    assert web.startswith("web ")


def test_nginx_is_installed_and_takes_its_configuration(host: Host) -> None:
    assert host.package("nginx-light").is_installed
    with host.sudo():
        assert host.run("nginx -t").succeeded


def test_our_site_is_enabled(host: Host) -> None:
    site = host.file("/etc/nginx/sites-enabled/default")

    assert site.linked_to == "/etc/nginx/sites-available/default"
    assert site.contains("location = /healthz")


@pytest.mark.usefixtures("systemd")
def test_nginx_serves(host: Host) -> None:
    assert host.service("nginx").is_enabled
    assert host.service("nginx").is_running
    ask = "from urllib.request import urlopen; print(urlopen('http://127.0.0.1/healthz').read().decode())"
    assert host.check_output(f'python3 -c "{ask}"') == "ok"
