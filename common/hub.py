"""The Hugging Face Hub: repository ids and urls, the signed-in client, write access, retries, and errors in one sentence."""

import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, TypeVar

from common.errors import UserError
from common.retry import TRANSIENT_STATUSES, TransientFailure, call_with_retries, retry_after

if TYPE_CHECKING:
    from huggingface_hub import HfApi

RepoType = Literal["model", "dataset", "space"]
T = TypeVar("T")

CONFLICT_STATUSES = frozenset({409, 412})
"""Someone else committed since the head was read."""


def repo_url(repo_id: str, repo_type: RepoType) -> str:
    """The repository's page."""
    from huggingface_hub import constants

    return f"{constants.ENDPOINT}/{'' if repo_type == 'model' else repo_type + 's/'}{repo_id}"


def is_gated(error: BaseException | None) -> bool:
    """Whether an error, or what caused it, is the Hub's refusal to hand out a gated repository."""
    from huggingface_hub.errors import GatedRepoError

    while error is not None and not isinstance(error, GatedRepoError):
        error = error.__cause__ or error.__context__
    return error is not None


def gated_sentence(given: str, repo_id: str, repo_type: RepoType = "model") -> str:
    """What to do about a gated repository, which the message calls `given`."""
    return f"{given} is gated; accept its terms at {repo_url(repo_id, repo_type)}, then run hf auth login or set HF_TOKEN"


def check_repo_id(repo_id: str) -> None:
    """Raises UserError, or huggingface_hub's HFValidationError, for an id that is not namespace/name."""
    from huggingface_hub.utils import validate_repo_id

    if repo_id.count("/") != 1:
        raise UserError(f"the repository {repo_id!r} must be named namespace/name, as in my-shop/instructions")
    validate_repo_id(repo_id)


def signed_in() -> "HfApi":
    """The Hub's client with the user's token. Raises UserError where there is none."""
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.utils import disable_progress_bars

    if not sys.stderr.isatty():
        disable_progress_bars()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # its notes on retries hold signed addresses
    if get_token() is None:
        raise UserError("publishing needs a token; log in with `hf auth login` or set HF_TOKEN to one with write access")
    return HfApi()


def check_write_access(namespace: str) -> None:
    """Raises UserError where there is no token, the Hub does not know it, or it may not write to the namespace.

    What a fine-grained token may do is known to the Hub alone, which then refuses the first commit.
    """
    with hub_errors(f"{namespace}/anything"):
        account = retried(signed_in().whoami)
    name = account.get("name")
    token = (account.get("auth") or {}).get("accessToken") or {}
    if token.get("role") == "read":
        raise UserError(f"the token of {name} may only read; make one with write access, then `hf auth login` or set HF_TOKEN")
    organisations = {each.get("name"): each.get("roleInOrg") for each in account.get("orgs") or ()}
    if namespace != name and organisations.get(namespace, "read") == "read":
        mine = ", ".join([str(name), *sorted(org for org, role in organisations.items() if role != "read")])
        raise UserError(
            f"{name}, whose token is in use, may not write to {namespace}; publish to one of {mine}, or use another token"
        )


def retried(action: Callable[[], T]) -> T:
    """The result of a call to the Hub, with retries after conflicts, rate limits and transient failures."""
    return call_with_retries(action, _transient_failure)


def _transient_failure(error: Exception) -> TransientFailure | None:
    import httpx
    from huggingface_hub.errors import HfHubHTTPError

    root = _root(error)
    if isinstance(root, HfHubHTTPError):
        status = root.response.status_code
        if status in CONFLICT_STATUSES:
            return TransientFailure("someone else committed at the same time")
        if status in TRANSIENT_STATUSES:
            return TransientFailure(f"the Hub answered {status}", retry_after(root.response.headers))
    elif isinstance(root, httpx.TimeoutException | httpx.NetworkError | httpx.RemoteProtocolError):
        return TransientFailure("the Hub did not answer")
    elif isinstance(root, json.JSONDecodeError):  # a gateway's page, which the client reads before it sees the status
        return TransientFailure("the Hub's answer could not be read")
    return None


def _root(error: BaseException) -> BaseException:
    """The cause of the RuntimeError that huggingface_hub wraps around a failed upload."""
    while isinstance(error, RuntimeError) and error.__cause__ is not None:
        error = error.__cause__
    return error


@contextmanager
def hub_errors(repo_id: str) -> Iterator[None]:
    """Turns huggingface_hub's errors about `repo_id` into a UserError that says what to do. The token is never in it."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        sentence = explain(_root(error), repo_id)
        if sentence is None:
            raise
        raise UserError(_without_token(sentence)) from None


def explain(error: BaseException, repo_id: str) -> str | None:
    """One sentence on an error of the Hub and what to do; None for an error that has nothing to do with the Hub."""
    import httpx
    from huggingface_hub import constants, errors

    endpoint = constants.ENDPOINT
    address = f"HF_ENDPOINT is {endpoint!r}, which is not a URL; unset it or start it with https://"
    token = "the Hub token contains characters that no token has; copy it again, then `hf auth login` or set HF_TOKEN"
    # The first that fits counts: some of these types are subclasses of later ones.
    sentences: tuple[tuple[type[BaseException], str], ...] = (
        (errors.OfflineModeIsEnabled, f"offline mode is on; unset HF_HUB_OFFLINE to reach {endpoint}"),
        (errors.HFValidationError, f"{repo_id!r} is not a repo id; use letters, digits, - _ . as in my-shop/instructions"),
        (errors.GatedRepoError, f"access to {repo_id} is restricted; ask for it on its page under {endpoint}"),
        (errors.RevisionNotFoundError, f"{repo_id} has no branch of that name (a tag or a commit is not one); name a branch"),
        (httpx.UnsupportedProtocol, address),
        (httpx.InvalidURL, address),
        (httpx.LocalProtocolError, token),
        (UnicodeEncodeError, token),
        (httpx.TransportError, f"{endpoint} cannot be reached; check the network and HF_ENDPOINT, then run the command again"),
        (json.JSONDecodeError, f"{endpoint} does not answer as a Hub does; check HF_ENDPOINT, or run the command again later"),
    )
    if found := next((sentence for kind, sentence in sentences if isinstance(error, kind)), None):
        return found
    if isinstance(error, errors.HfHubHTTPError):
        return _explain_status(error.response.status_code, error.server_message, repo_id, endpoint)
    if isinstance(error, ValueError) and "metadata in README.md" in str(error):
        return "the Hub refuses README.md: " + " ".join(str(error).split())
    if isinstance(error, OSError) and error.filename:
        return f"cannot read {error.filename}: {error.strerror}"
    return f"the upload failed ({error}); run the command again" if isinstance(error, RuntimeError) else None


def _explain_status(status: int, server_message: str | None, repo_id: str, endpoint: str) -> str:
    namespace = repo_id.split("/", maxsplit=1)[0]
    sentences = {
        401: f"{endpoint} does not accept the token; log in with `hf auth login` or set HF_TOKEN to one with write access",
        403: f"the token may not write to {repo_id}; use one with write access to {namespace}, or another repository",
        404: f"{repo_id} is not on {endpoint}, or it is private and not yours; check the name and whose token is in use",
        409: f"others keep committing to {repo_id}, and what they commit is kept; run the command again when they are done",
        429: f"{endpoint} asks for fewer requests (429); wait some minutes and run the command again",
    }
    sentences[412] = sentences[409]
    if status not in sentences and status in TRANSIENT_STATUSES:
        return f"{endpoint} is in trouble ({status}); what it holds is whole, run the command again later"
    return (
        sentences.get(status) or f"{endpoint} refuses with {status}: {' '.join((server_message or 'no reason given').split())}"
    )


def _without_token(text: str) -> str:
    from huggingface_hub import get_token

    token = get_token()
    return text.replace(token, "***") if token else text
