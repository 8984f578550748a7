"""The old name of `python -m release`; it goes in the next version."""

import sys

from release.__main__ import main

if __name__ == "__main__":
    print("note: python -m space.publish_all is python -m release now", file=sys.stderr)
    main()
