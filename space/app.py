"""Starts the Space: `python app.py` in the folder that `python -m space.publish` assembles."""

from demo.page import main

if __name__ == "__main__":
    main()
