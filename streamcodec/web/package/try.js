// The try-it page: a file or five seconds from the microphone, coded and decoded in this tab, and `.sc` files opened.

import { throughOpus } from './browser_opus.js';
import { openCodedFile } from './coded_file.js';
import { soundFileOf } from './file_writer.js';
import { Codec, Decoder, Encoder, LoadError, readFrom } from './index.js';
import { drawSpectrogram } from './spectrogram.js';
import { WaveFile } from './wave_file.js';

const RECORD_MS = 5_000;
const LONGEST_S = 60;

/**
 * @template {HTMLElement} T
 * @param {string} id
 * @param {new () => T} kind
 * @returns {T}
 */
function find(id, kind) {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`the page has no ${id}`);
  return found;
}

const status = find('status', HTMLParagraphElement);
const rate = find('rate', HTMLInputElement);
const loss = find('loss', HTMLInputElement);
const packet = find('packet', HTMLSelectElement);
const record = find('record', HTMLButtonElement);
const file = find('file', HTMLInputElement);
const coded = find('coded', HTMLInputElement);

/** @type {Codec | undefined} */
let codec;
/** @type {Float32Array | undefined} */
let sound;

/** Of the sound heard last, and of the file opened last: what a later one has overtaken is not shown. */
let [round, openings] = [0, 0];

/** @param {string} sentence */
function say(sentence) {
  status.textContent = sentence;
}

/**
 * Mono at the codec's rate.
 * @param {ArrayBuffer} bytes
 */
async function decodeFile(bytes) {
  const rateHz = /** @type {Codec} */ (codec).layout.sampleRate;
  // Decoding resamples to the rate of the context, whatever its length.
  const decoded = await new OfflineAudioContext(1, 1, rateHz).decodeAudioData(bytes);
  const length = Math.min(decoded.length, LONGEST_S * rateHz);
  const mono = new Float32Array(length);
  for (let channel = 0; channel < decoded.numberOfChannels; channel++) {
    const samples = decoded.getChannelData(channel);
    for (let k = 0; k < length; k++) mono[k] += samples[k] / decoded.numberOfChannels;
  }
  return mono;
}

async function recordMicrophone() {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
  try {
    const recorder = new MediaRecorder(stream);
    /** @type {Blob[]} */
    const parts = [];
    recorder.ondataavailable = (event) => parts.push(event.data);
    const stopped = new Promise((resolve) => (recorder.onstop = resolve));
    recorder.start();
    await new Promise((resolve) => setTimeout(resolve, RECORD_MS));
    recorder.stop();
    await stopped;
    return await new Blob(parts).arrayBuffer();
  } finally {
    stream.getTracks().forEach((track) => track.stop());
  }
}

/**
 * @param {HTMLAudioElement} player
 * @param {Float32Array} samples
 */
function play(player, samples) {
  const wave = new WaveFile(1, /** @type {Codec} */ (codec).layout.sampleRate);
  wave.push([samples]);
  URL.revokeObjectURL(player.src);
  player.src = URL.createObjectURL(wave.blob());
}

function update() {
  find('rate-shown', HTMLOutputElement).value = `${rate.value} kbps`;
  find('loss-shown', HTMLOutputElement).value = `${loss.value} %`;
  if (!codec || !sound) return;
  const start = performance.now();
  const encoder = new Encoder(codec, { bitrate: 1_000 * rate.valueAsNumber, packetMs: Number(packet.value) });
  const decoder = new Decoder(codec);
  const packets = [...encoder.push(sound), ...encoder.flush()];
  const framesEach = Number(packet.value) / 20;
  const heard = packets.flatMap((each) => {
    const lost = 100 * Math.random() < loss.valueAsNumber;
    return lost ? Array.from({ length: framesEach }, () => decoder.push(null)) : [decoder.push(each)];
  });
  const out = new Float32Array(heard.reduce((length, block) => length + block.length, 0));
  heard.reduce((at, block) => (out.set(block, at), at + block.length), 0);
  const tookMs = performance.now() - start;
  const seconds = sound.length / codec.layout.sampleRate;
  const bits = 8 * packets.reduce((total, each) => total + each.payload.length, 0);
  const decoded = out.subarray(decoder.delaySamples, decoder.delaySamples + sound.length);
  play(find('original', HTMLAudioElement), sound);
  play(find('decoded', HTMLAudioElement), decoded);
  find('facts', HTMLParagraphElement).textContent =
    `${(bits / seconds / 1_000).toFixed(2)} kbps of payload, ${decoder.concealed} of ` +
    `${packets.length * framesEach} frames concealed; coded and decoded ${(1_000 * seconds / tookMs).toFixed(0)} ` +
    'times as fast as it plays.';
  find('players', HTMLElement).hidden = false;
  drawSpectrogram(find('original-seen', HTMLCanvasElement), sound);
  drawSpectrogram(find('decoded-seen', HTMLCanvasElement), decoded);
  const link = find('download', HTMLAnchorElement);
  URL.revokeObjectURL(link.href);
  link.href = URL.createObjectURL(new Blob([soundFileOf(codec, packets, sound.length)]));
  void compare(sound, 1_000 * rate.valueAsNumber, ++round);
  encoder.close();
  decoder.close();
}

/**
 * @param {Float32Array} original
 * @param {number} bitrate
 * @param {number} own
 */
async function compare(original, bitrate, own) {
  const facts = find('opus-facts', HTMLParagraphElement);
  const rateHz = /** @type {Codec} */ (codec).layout.sampleRate;
  const found = await throughOpus(original, rateHz, bitrate).catch(() => null);
  if (own !== round) return;
  if (!found) {
    facts.textContent = 'This browser does not code Opus for pages.';
    return;
  }
  play(find('opus', HTMLAudioElement), found.sound);
  drawSpectrogram(find('opus-seen', HTMLCanvasElement), found.sound);
  const least = bitrate < 6_000 ? ', the least that Opus takes' : '';
  facts.textContent = `${found.kbps.toFixed(1)} kbps of payload${least}; nothing lost.`;
}

/**
 * @param {() => Promise<ArrayBuffer>} get
 * @param {string} trouble
 */
async function take(get, trouble) {
  try {
    sound = await decodeFile(await get());
    say(`${(sound.length / 24_000).toFixed(1)} seconds of sound.`);
    update();
  } catch (error) {
    say(`${trouble} (${error instanceof Error ? error.message : error})`);
  }
}

/** @param {File} chosen */
async function open(chosen) {
  const own = ++openings;
  const shown = find('opened', HTMLElement);
  const player = find('opened-sound', HTMLAudioElement);
  const link = find('opened-download', HTMLAnchorElement);
  shown.hidden = true;
  // What was opened before is silent from now on, and no longer held in memory.
  URL.revokeObjectURL(player.src);
  player.removeAttribute('src');
  player.load();
  link.removeAttribute('href');
  say(`Decoding ${chosen.name}.`);
  try {
    const bytes = new Uint8Array(await chosen.arrayBuffer());
    const found = await openCodedFile(bytes, chosen.name, /** @type {Codec} */ (codec), (share) => {
      if (own === openings) say(`Decoding ${chosen.name}: ${(100 * share).toFixed(0)} %.`);
      return own === openings;
    });
    if (!found || own !== openings) return;
    player.src = URL.createObjectURL(found.wave);
    find('opened-facts', HTMLParagraphElement).textContent = found.facts;
    find('opened-trouble', HTMLParagraphElement).textContent = found.trouble ? `${found.trouble}.` : '';
    link.href = player.src;
    link.download = chosen.name.replace(/(\.sc)?$/i, '.wav');
    shown.hidden = false;
    say(`${chosen.name} is decoded.`);
  } catch (error) {
    if (own === openings) say(`${chosen.name} cannot be decoded here: ${error instanceof Error ? error.message : error}.`);
  }
}

file.onchange = () => {
  const [chosen] = file.files ?? [];
  if (chosen) void take(() => chosen.arrayBuffer(), 'This file cannot be read as sound.');
};
coded.onchange = () => {
  const [chosen] = coded.files ?? [];
  if (chosen) void open(chosen);
};
record.onclick = async () => {
  record.disabled = true;
  say('Recording: say something.');
  await take(recordMicrophone, 'There is no sound from the microphone: allow it for this page, and plug one in.');
  record.disabled = false;
};
for (const control of [rate, loss, packet]) control.oninput = update;

try {
  codec = await Codec.load(readFrom('./'));
  find('controls', HTMLFieldSetElement).disabled = false;
  say('Choose a file, or record something.');
} catch (error) {
  say(error instanceof LoadError ? `${error.message}.` : 'The codec cannot be started here.');
  throw error;
}
