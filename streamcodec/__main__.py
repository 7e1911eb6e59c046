"""``python -m streamcodec``: the command line."""

from streamcodec.cli import console

if __name__ == "__main__":
    console()
