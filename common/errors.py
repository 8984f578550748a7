"""User errors: one sentence on standard error and exit code 2, never a traceback."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


class UserError(Exception):
    """A mistake that the user can correct. The message says what is wrong and what to do."""


def first_line(error: BaseException) -> str:
    """The first line of a library's error message; without one, the error's name."""
    return next((line.strip().rstrip(".:;") for line in str(error).splitlines() if line.strip()), type(error).__name__)


@contextmanager
def plain_errors() -> Iterator[None]:
    """For a command's `main`: prints a UserError as `error: ...` and exits with code 2; Ctrl-C exits with 130."""
    try:
        yield
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
