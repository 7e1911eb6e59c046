// The browser's own Opus (WebCodecs), to hear beside ours.

const LEAST_BPS = 6_000;

/** Whether this browser codes Opus for pages. */
export function hasOpus() {
  return typeof AudioEncoder !== 'undefined' && typeof AudioDecoder !== 'undefined';
}

/**
 * Sound coded and decoded by the browser's Opus, packets of 20 ms, as long as it was; null where that cannot be had.
 * @param {Float32Array} sound mono
 * @param {number} sampleRate 8, 12, 16, 24 or 48 kHz
 * @param {number} bitrate Opus takes no less than 6 kbps.
 * @returns {Promise<{sound: Float32Array, kbps: number} | null>}
 */
export async function throughOpus(sound, sampleRate, bitrate) {
  if (!hasOpus()) return null;
  /** @type {EncodedAudioChunk[]} */
  const chunks = [];
  /** @type {AudioDecoderConfig | undefined} */
  let description;
  /** @type {Error | null} */
  let failure = null;
  const fail = (/** @type {Error} */ error) => void (failure = error);
  const config = { codec: 'opus', sampleRate, numberOfChannels: 1, bitrate: Math.max(LEAST_BPS, bitrate) };
  if (!(await AudioEncoder.isConfigSupported(config)).supported) return null;
  const encoder = new AudioEncoder({
    output: (chunk, metadata) => {
      description ??= metadata?.decoderConfig;
      chunks.push(chunk);
    },
    error: fail,
  });
  encoder.configure(config);
  const padded = new Float32Array(sound.length + sampleRate / 10);
  padded.set(sound);
  encoder.encode(new AudioData({
    format: 'f32-planar', sampleRate, numberOfFrames: padded.length, numberOfChannels: 1, timestamp: 0, data: padded,
  }));
  await encoder.flush();
  encoder.close();
  /** @type {Float32Array[]} */
  const blocks = [];
  let rateHz = sampleRate;
  const decoder = new AudioDecoder({
    output: (data) => {
      const block = new Float32Array(data.numberOfFrames);
      data.copyTo(block, { planeIndex: 0, format: 'f32-planar' });
      rateHz = data.sampleRate;
      blocks.push(block);
      data.close();
    },
    error: fail,
  });
  decoder.configure(description ?? { codec: 'opus', sampleRate, numberOfChannels: 1 });
  for (const chunk of chunks) decoder.decode(chunk);
  await decoder.flush();
  decoder.close();
  if (failure || blocks.length === 0) return null;
  const all = new Float32Array(blocks.reduce((length, block) => length + block.length, 0));
  blocks.reduce((at, block) => (all.set(block, at), at + block.length), 0);
  const bits = 8 * chunks.reduce((total, chunk) => total + chunk.byteLength, 0);
  return { sound: await atRate(all, rateHz, sampleRate, sound.length), kbps: bits / (padded.length / sampleRate) / 1_000 };
}

/**
 * @param {Float32Array} sound
 * @param {number} fromHz
 * @param {number} toHz
 * @param {number} length
 */
async function atRate(sound, fromHz, toHz, length) {
  if (fromHz === toHz) return sound.slice(0, length);
  const context = new OfflineAudioContext(1, length, toHz);
  const buffer = context.createBuffer(1, sound.length, fromHz);
  buffer.copyToChannel(new Float32Array(sound), 0);
  const source = new AudioBufferSourceNode(context, { buffer });
  source.connect(context.destination);
  source.start();
  return (await context.startRendering()).getChannelData(0);
}
