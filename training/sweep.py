"""Moved: the sweep is `python -m eval_tasks.sweep`. This module goes with the next version."""

import sys
from collections.abc import Sequence

from common.errors import plain_errors


def main(argv: Sequence[str] | None = None) -> None:
    from eval_tasks import sweep

    print("note: training.sweep has moved; use python -m eval_tasks.sweep", file=sys.stderr)
    sweep.main(argv)


if __name__ == "__main__":
    with plain_errors():
        main()
