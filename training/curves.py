"""Training curves by Trackio: kept in a local folder, and on the Hub where the user names a Space, private by default.

transformers 5.23 makes a public static Space of them on any push, and freezes a Space that the user named into another public
one. Here neither happens unasked. The card of an adapter whose curves are in a Space links to it by the tag `trackio:URL`,
which the Hub shows as "Training metrics" (https://huggingface.co/docs/trackio).
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trl import SFTConfig

TRACKIO = "trackio"
SPACE_URL = "https://huggingface.co/spaces/{space_id}"


def keep_private(args: "SFTConfig") -> None:
    """Sets what transformers' TrackioCallback reads: no static Space unless one is named, all others private.

    `--hub_private_repo false` makes them public. It is read by the callback from here on, so the model's repository must have
    been made before.
    """
    if args.trackio_static_space_id is None:
        args.trackio_static_space_id = False
    if args.hub_private_repo is None and not args.trackio_static_space_id:  # a static Space cannot be private
        args.hub_private_repo = True


def space_of(args: "SFTConfig") -> str | None:
    """The Space that the curves of a finished run went to, with its owner; None where they stayed here."""
    if TRACKIO not in (args.report_to or ()):
        return None
    from trackio.context_vars import current_space_id

    space: str | None = current_space_id.get()
    return str(args.trackio_static_space_id) if space and args.trackio_static_space_id else space


def tags(space_id: str | None) -> list[str]:
    """Tags of the adapter's card."""
    return [TRACKIO, f"{TRACKIO}:{SPACE_URL.format(space_id=space_id)}"] if space_id else []
