"""``python -m streamcodec``: the command line."""

from streamcodec.entry import console

if __name__ == "__main__":
    console()
