"""A packed folder in three data loaders: pack it, then read it with webdataset, lhotse or datasets.

streamcodec pack recordings tars --shards webdataset && python demos/data_loaders.py webdataset tars
streamcodec pack recordings shar --shards shar && python demos/data_loaders.py lhotse shar
streamcodec pack recordings files && python demos/data_loaders.py datasets files
"""

import sys
from pathlib import Path

if len(sys.argv) != 3:
    print("usage: python demos/data_loaders.py webdataset|lhotse|datasets FOLDER", file=sys.stderr)
    sys.exit(2)
loader, folder = sys.argv[1], Path(sys.argv[2])
if loader == "webdataset":
    import webdataset

    from streamcodec.adapters.webdataset import sc

    for sample in webdataset.WebDataset(sorted(map(str, folder.glob("*.tar"))), shardshuffle=False).decode(sc):
        print(f"{sample['__key__']}: {sample['sc'].samples.shape[1] / sample['sc'].sample_rate_hz:.2f} s")
elif loader == "lhotse":
    import lhotse

    import streamcodec.adapters.lhotse  # noqa: F401  (makes .sc known to lhotse)

    for cut in lhotse.CutSet.from_shar(in_dir=folder / "shar"):
        print(f"{cut.id}: {cut.load_audio().shape[1] / cut.sampling_rate:.2f} s")
else:
    from datasets import Dataset

    from streamcodec.adapters.datasets import StreamcodecAudio

    paths = sorted(map(str, folder.rglob("*.sc")))
    for row in Dataset.from_dict({"sound": paths}).cast_column("sound", StreamcodecAudio(sampling_rate=16_000)):
        print(f"{row['sound']['path']}: {len(row['sound']['array']) / 16_000:.2f} s")
