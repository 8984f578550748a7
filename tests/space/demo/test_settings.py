"""Which backend the environment asks for, and what is said when it asks for none."""

import pytest

from space.demo.local_backend import LocalBackend
from space.demo.remote_backend import EndpointSettings, RemoteBackend
from space.demo.settings import SettingsError, SpaceSettings, make_backend, mcp_server, read_endpoint_settings, read_settings

SETTINGS = SpaceSettings("no/base", "no/adapter")
ADDRESS = {"ENDPOINT_URL": "http://127.0.0.1:9/v1", "ENDPOINT_BASE_MODEL": "base"}


def test_how_lists_are_scored_is_a_setting_that_a_variable_overrides(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_settings().lists == "words"
    monkeypatch.setenv("LISTS", "text")
    assert read_settings().lists == "text"
    monkeypatch.setenv("LISTS", "texts")
    with pytest.raises(SettingsError, match="LISTS is 'texts'; it has to be words or text"):
        read_settings()


@pytest.mark.parametrize("environ", [{}, {"BACKEND": ""}, {"BACKEND": "transformers"}, {"SPACES_ZERO_GPU": "false"}])
def test_by_default_the_model_is_loaded_here(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    backend = make_backend(SETTINGS, environ)
    assert isinstance(backend, LocalBackend)
    assert backend.names == {"base": "no/base", "tuned": "no/base + no/adapter"}


def test_an_endpoint_has_the_names_that_the_models_have_there() -> None:
    backend = make_backend(SETTINGS, {"BACKEND": "endpoint", **ADDRESS, "ENDPOINT_TUNED_MODEL": "shop"})
    assert isinstance(backend, RemoteBackend)
    assert backend.names == {"base": "base", "tuned": "shop"}


def test_an_endpoint_without_a_tuned_model_has_a_base_only() -> None:
    assert read_endpoint_settings(ADDRESS).models == {"base": "base"}


def test_arguments_of_the_chat_template_are_json_or_text() -> None:
    options = {"ENDPOINT_TEMPLATE_OPTIONS": " enable_thinking=false  effort=low\nbudget=3 "}
    assert read_endpoint_settings(ADDRESS | options).template == {"enable_thinking": False, "effort": "low", "budget": 3}
    assert read_endpoint_settings(ADDRESS).template == {}
    for text in ("enable_thinking", "=1", "effort="):
        with pytest.raises(SettingsError, match="it has to be KEY=VALUE, such as enable_thinking=false"):
            read_endpoint_settings(ADDRESS | {"ENDPOINT_TEMPLATE_OPTIONS": text})


def test_a_key_is_in_nothing_that_is_printed() -> None:
    endpoint = read_endpoint_settings(ADDRESS | {"ENDPOINT_API_KEY": "secret-key"})
    assert endpoint == EndpointSettings(ADDRESS["ENDPOINT_URL"], {"base": "base"}, "secret-key")
    assert "secret-key" not in f"{endpoint} {endpoint!r}"


@pytest.mark.parametrize(
    ("environ", "sentence"),
    [
        ({"BACKEND": "vllm"}, "BACKEND is 'vllm'; it has to be transformers or endpoint"),
        ({"BACKEND": "endpoint"}, "needs ENDPOINT_URL"),
        ({"BACKEND": "endpoint", "ENDPOINT_URL": "localhost:8000", "ENDPOINT_BASE_MODEL": "base"}, "needs ENDPOINT_URL"),
        ({"BACKEND": "endpoint", "ENDPOINT_URL": "http://localhost:8000/v1"}, "needs ENDPOINT_BASE_MODEL"),
    ],
)
def test_settings_that_name_no_backend_are_told_in_a_sentence(environ: dict[str, str], sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        make_backend(SETTINGS, environ)


@pytest.mark.parametrize(
    ("environ", "asked"),
    [
        ({}, False),
        ({"SPACE_ID": "org/demo"}, True),
        ({"SPACE_ID": "org/demo", "MCP_SERVER": "false"}, False),
        ({"MCP_SERVER": "True"}, True),
    ],
)
def test_the_page_is_an_mcp_server_on_the_hub_unless_it_is_told_otherwise(environ: dict[str, str], asked: bool) -> None:
    pytest.importorskip("mcp")
    assert mcp_server(environ) is asked


def test_another_value_of_mcp_server_is_refused() -> None:
    with pytest.raises(SettingsError, match="has to be true or false"):
        mcp_server({"MCP_SERVER": "yes"})
