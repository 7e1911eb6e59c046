// A `.sc` file of somebody's, decoded in this tab into something that every player takes.

import { Codec, SoundFile, WaveformCodec, fileHeader, readFrom } from './index.js';
import { WaveFile } from './wave_file.js';

const BREATH_MS = 50;

/** @type {Promise<WaveformCodec> | null} Loaded once there is a file of its tiers. */
let waveform = null;

function waveformCodec() {
  waveform ??= WaveformCodec.load(readFrom(new URL('./', import.meta.url)));
  waveform.catch(() => (waveform = null));
  return waveform;
}

/**
 * @typedef {object} Opened
 * @property {Blob} wave
 * @property {string} facts Of what is in the file, in a line.
 * @property {string | null} trouble What it lacks, in a sentence.
 */

/**
 * Decode a file of any tier; throws FileError, TooLongError or LoadError.
 * @param {Uint8Array} bytes
 * @param {string} name What sentences call it.
 * @param {Codec} neural
 * @param {(share: number) => boolean} goesOn Called now and then with the share done; false ends it.
 * @returns {Promise<Opened | null>} null where it was ended
 */
export async function openCodedFile(bytes, name, neural, goesOn) {
  const header = fileHeader(bytes);
  const codec = header.tier === 'neural' ? neural : await waveformCodec();
  const file = new SoundFile(bytes, codec);
  const wave = new WaveFile(file.channels, file.sampleRate, header.tier === 'lossless' && header.bits_per_sample > 16 ? 24 : 16);
  let rested = performance.now();
  for (const planes of file.decodeChannels()) {
    wave.push(planes);
    if (performance.now() - rested < BREATH_MS) continue;
    if (!goesOn(file.samples ? wave.samples / file.samples : 0)) return null;
    await new Promise((resolve) => setTimeout(resolve));
    rested = performance.now();
  }
  const seconds = wave.samples / file.sampleRate;
  const { title, artist } = header.metadata ?? {};
  const facts = [
    [title, artist].filter(Boolean).join(', '),
    `${header.tier} tier`,
    `${seconds.toFixed(2)} s`,
    `${file.channels === 1 ? 'mono' : `${file.channels} channels`} at ${file.sampleRate} Hz`,
    seconds ? `${((8 * bytes.length) / seconds / 1_000).toFixed(1)} kbps` : '',
  ];
  return { wave: wave.blob(), facts: facts.filter(Boolean).join(' · '), trouble: file.trouble(name) };
}
