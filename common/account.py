"""Whose Hub token is in use, and whether it may write to a namespace."""

from common.errors import UserError
from common.hub import hub_errors, retried, signed_in


def check_writer(namespace: str) -> None:
    """Raises UserError where there is no token, where it is none of the Hub's, or where it may not write there.

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
