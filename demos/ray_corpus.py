"""Code a folder on a Ray cluster into Parquet, and read it back: python demos/ray_corpus.py recordings coded"""

import sys

import ray

from streamcodec.adapters.ray import SoundDecoder, SoundEncoder

if __name__ == "__main__":
    recordings, coded = sys.argv[1:3]
    sounds = ray.data.read_binary_files(recordings, include_paths=True)
    rows = sounds.map_batches(
        SoundEncoder, batch_size=16, concurrency=2, fn_constructor_kwargs={"bitrate_bps": 6_000}
    )
    rows.write_parquet(coded)
    for row in ray.data.read_parquet(coded).map_batches(SoundDecoder, batch_size=16, concurrency=2).iter_rows():
        print(row["path"], row["error"] or f"{row['samples'].shape[1] / row['sample_rate_hz']:.2f} s")
