"""A tiny language model over codes: train it on a folder of speech for some minutes, then let it speak (babble).

python demos/codes_language_model.py FOLDER spoken.wav [STEPS]
"""

import sys
from pathlib import Path

import soundfile
import torch
from torch import nn

from streamcodec import LatentCodec

if len(sys.argv) not in (3, 4):
    print("usage: python demos/codes_language_model.py FOLDER spoken.wav [STEPS]", file=sys.stderr)
    sys.exit(2)
SECONDS, MOST, DIM, STEPS = 4, 6, 256, int(sys.argv[3]) if len(sys.argv) > 3 else 600
paths = sorted(path for path in Path(sys.argv[1]).rglob("*") if path.suffix in (".wav", ".flac", ".ogg"))[:100]
rate_hz = soundfile.info(paths[0]).samplerate
codec = LatentCodec.from_pretrained("speech-24k", quality_index=0, sample_rate_hz=rate_hz)
sounds = [torch.from_numpy(soundfile.read(path, frames=60 * rate_hz, dtype="float32")[0]) for path in paths]
codes = [codec.encode(sound).clamp(-MOST, MOST) for sound in sounds if len(sound) > SECONDS * rate_hz]
unit = torch.from_numpy(codec.steps)
memory, head = nn.GRU(codec.latents, DIM, batch_first=True), nn.Linear(DIM, codec.latents * (2 * MOST + 1))
optimiser = torch.optim.Adam([*memory.parameters(), *head.parameters()], 2e-3)
for step in range(STEPS):
    which = [codes[k] for k in torch.randint(len(codes), (16,))]
    batch = torch.stack([c[int(torch.randint(len(c) - 50 * SECONDS + 1, ())) :][: 50 * SECONDS] for c in which])
    logits = head(memory(batch[:, :-1] * unit)[0]).reshape(-1, 2 * MOST + 1)
    loss = nn.functional.cross_entropy(logits, batch[:, 1:].flatten() + MOST)
    optimiser.zero_grad(), loss.backward(), optimiser.step()
    if step % 50 == 0:
        print(f"step {step}: {50 * codec.latents * loss.item() / 693.1:.2f} kbps", flush=True)
said, state = [codes[0][:1]], None
for _ in range(50 * 5):
    hidden, state = memory(said[-1] * unit, state)
    said.append(torch.multinomial(head(hidden).detach().reshape(codec.latents, -1).softmax(-1), 1).T - MOST)
soundfile.write(sys.argv[2], codec.decode(torch.cat(said)).numpy(), rate_hz)
