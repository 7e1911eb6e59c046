"""``streamcodec similar``."""

from __future__ import annotations

import argparse

from streamcodec.cli.common import add_model_argument, input_file, need, print_json, progress_bar
from streamcodec.errors import StreamcodecError

HELP = ("find the sounds in a folder that are most like one", "streamcodec similar talk.wav recordings")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("query", help="sound file (.wav, .flac, .ogg, .mp3)")
    parser.add_argument("folder", help="folder to search, with those below it")
    parser.add_argument("--count", type=int, default=10, metavar="N", help="sounds to name (default 10)")
    parser.add_argument(
        "--index", metavar="FILE", help="where the index is kept (default .streamcodec-index in the folder)"
    )
    add_model_argument(parser)
    parser.add_argument("--json", action="store_true", help="print figures as JSON")


def run(options: argparse.Namespace) -> None:
    """Bring the index up to date, search it, print what is most alike."""
    need("sklearn")
    from streamcodec.codec.files.sound_file import SoundReader
    from streamcodec.codec.packet import Tier
    from streamcodec.features.sound_index import SoundIndex

    if options.query == "-":
        raise StreamcodecError("the query is a file, not standard input: name it")
    if options.count < 1:
        raise StreamcodecError(f"--count must be at least 1, got {options.count}")
    query = input_file(options.query)
    with SoundReader(query, Tier.NEURAL):
        pass  # What cannot be read is told before a folder is listened to, which may take long.
    with progress_bar("listening") as progress:
        index = SoundIndex.of_folder(options.folder, options.index, model=options.model, progress=progress)
    found = index.nearest(str(query), options.count)
    if options.json:
        print_json(
            {
                "query": options.query,
                "sounds": len(index),
                "listened_to": index.heard,
                "unreadable": [str(path) for path in index.unreadable],
                "similar": [{"file": str(each.path), "similarity": each.similarity} for each in found],
            }
        )
        return
    for each in found:
        print(f"{each.similarity:6.3f}  {each.path}")
    if not found:
        print(f"{options.folder} holds no other sound")
