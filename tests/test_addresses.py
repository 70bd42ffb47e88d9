"""Addresses that a setting may hold, and forty that it may not."""

from __future__ import annotations

from typing import Any

import pytest

from mcp_server.errors import Unusable
from mcp_server.settings import given

GOOD = (
    "https://login.example.com/realms/main",
    "https://10.0.0.7:8443/x?y=z",
    "http://127.0.0.1:8080",
    "http://[::1]/",
)
BAD = (
    *(
        "file:///etc/passwd",
        "ftp://x.example/",
        "gopher://x.example/",
        "data:text/plain,x",
        "javascript:alert(1)",
    ),
    *(
        "//x.example/",
        "x.example",
        "",
        "https://",
        "https:///x",
        "https://:443/",
        "http//x",
        "https://x.example:0/",
    ),
    *(
        "https://x.example:99999/",
        "https://x.example:port/",
        "https://user@x.example/",
        "https://u:p@x.example/",
    ),
    *(
        "https://127.0.0.1@x.example/",
        "https://x.example/#f",
        "https://x.example\\@y.example/",
        "https://x y/",
    ),
    *(
        "https://x.example/\n",
        "https://x.example/\x00",
        "https://x\u2024example/",
        "https://\u202ex.example/",
    ),
    *(
        "https://169.254.169.254/latest",
        "https://[fe80::1]/",
        "https://[::ffff:169.254.169.254]/",
        "https://0.0.0.0/",
    ),
    *("https://[::]/", "https://2852039166/", "https://0xa9.0xfe.0xa9.0xfe/", "https://0251.0376.0251.0376/"),
    *(
        "https://127.1/",
        "https://1/",
        "https://224.0.0.1/",
        "https://[ff02::1]/",
        "https://x%2eexample/",
        "https://[::1",
    ),
)
PLAIN = (
    "http://x.example/",
    "http://10.0.0.1/",
    "http://127.0.0.1.x.example/",
    "http://localhost.x.example/",
)
"""Not even signed: whoever is in between could put in keys of their own."""


def trusted(**changed: Any) -> Any:
    known = {
        "issuer": "https://a.example",
        "jwks_url": "https://a.example/k",
        "resource": "https://b.example",
    }
    return given(**{f"oauth_{name}": value for name, value in {**known, **changed}.items()})


def test_there_are_forty() -> None:
    assert len({*BAD, *PLAIN}) >= 40


@pytest.mark.parametrize("url", [*BAD, *PLAIN], ids=range(len(BAD) + len(PLAIN)))
@pytest.mark.parametrize("name", ["issuer", "jwks_url", "resource"])
def test_a_bad_address_of_an_authorization_server_is_refused(name: str, url: str) -> None:
    with pytest.raises(Unusable, match=f"oauth_{name}"):
        trusted(**{name: url})


@pytest.mark.parametrize("url", BAD, ids=range(len(BAD)))
def test_a_bad_address_of_a_webhook_is_refused(url: str) -> None:
    with pytest.raises(Unusable, match="webhooks"):
        given(webhooks={"on_run": url})


@pytest.mark.parametrize("url", GOOD)
def test_a_good_address_is_taken(url: str) -> None:
    assert trusted(issuer=url).oauth_issuer == url
    assert given(webhooks={"on_run": url}).webhooks == {"on_run": url}


def test_what_belongs_together_is_asked_for_together() -> None:
    with pytest.raises(Unusable, match="go together"):
        given(oauth_issuer="https://a.example")


@pytest.mark.parametrize("name", ["Authorization", "x-api-key", "Proxy-Authorization"])
def test_credentials_are_never_shared_with_pipelines(name: str) -> None:
    with pytest.raises(Unusable, match="pipelines never get it"):
        given(shared_headers=f"X-Tenant,{name}")
