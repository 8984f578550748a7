"""The Hub's errors as sentences, and who may write."""

import httpx
import pytest
from huggingface_hub.errors import HfHubHTTPError

from common.errors import UserError
from common.hub import check_write_access, explain, hub_errors
from tests.hub import ALICE, BOB, READER, Hub


def test_the_token_is_taken_out_of_what_the_hub_says(hub_client: Hub) -> None:
    response = httpx.Response(418, request=httpx.Request("GET", hub_client.endpoint))
    error = HfHubHTTPError("no", response=response, server_message=f"no tea for {ALICE}\n\nsorry")
    with pytest.raises(UserError, match=r"refuses with 418: no tea for \*\*\* sorry"), hub_errors("org/x"):
        raise error


def test_an_error_that_is_not_the_hubs_stays_what_it_is() -> None:
    assert explain(ZeroDivisionError(), "org/x") is None
    with pytest.raises(ZeroDivisionError), hub_errors("org/x"):
        raise ZeroDivisionError


@pytest.mark.parametrize(("token", "namespace"), [(ALICE, "org"), (ALICE, "alice"), (BOB, "bob")])
@pytest.mark.usefixtures("hub_client")
def test_a_token_with_write_access_passes(monkeypatch: pytest.MonkeyPatch, token: str, namespace: str) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    check_write_access(namespace)


NO_ACCESS = {
    "not a member": (
        ALICE,
        "nobody",
        "alice, whose token is in use, may not write to nobody; publish to one of alice, org, or ",
    ),
    "no organisation": (
        BOB,
        "org",
        "bob, whose token is in use, may not write to org; publish to one of bob, or use another token",
    ),
    "read-only token": (READER, "org", "the token of alice may only read; make one with write access"),
    "unknown token": ("hf_unknown", "org", "does not accept the token; log in"),
    "no token": ("", "org", "publishing needs a token; log in"),
}


@pytest.mark.parametrize(("token", "namespace", "sentence"), NO_ACCESS.values(), ids=NO_ACCESS.keys())
@pytest.mark.usefixtures("hub_client")
def test_a_token_without_write_access_is_refused(
    monkeypatch: pytest.MonkeyPatch, token: str, namespace: str, sentence: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(UserError) as raised:
        check_write_access(namespace)
    assert sentence in str(raised.value)
