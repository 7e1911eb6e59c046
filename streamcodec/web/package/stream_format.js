// What a packet tells about the stream it is from: `streamcodec/codec/stream_format.py`.

import { losslessFormat } from './lossless.js';
import { blockOf, nearLosslessFormat } from './near_lossless.js';
import { Tier } from './packet.js';

const NEURAL_FRAME_MS = 20;
const SHORTEST_MS = 2;
const LONGEST_MS = 100;

/**
 * One sender's stream; of the neural tier only the duration is fixed.
 * @typedef {{tier: number, packetMs: number, rateHz: number, channels: number, bits: number, blockSamples: number}}
 *   StreamFormat `packetMs`: of a frame, which is the unit of time stamps.
 */

/**
 * Null where only a key packet would tell, or where what it tells is out of range.
 * @param {import('./packet.js').Packet} packet
 * @returns {StreamFormat | null}
 */
export function formatOf({ tier, payload, frames }) {
  if (tier === Tier.NEURAL) return { tier, packetMs: NEURAL_FRAME_MS, rateHz: 0, channels: 1, bits: 16, blockSamples: 0 };
  const form = tier === Tier.LOSSLESS ? losslessFormat(payload) : nearLosslessFormat(blockOf({ payload, frames }, 0) ?? payload);
  if (form === null) return null;
  const { rateHz, channels, blockSamples } = form;
  const packetMs = (1_000 * blockSamples) / rateHz;
  if (packetMs < SHORTEST_MS || packetMs > LONGEST_MS) return null;
  return { tier, packetMs, rateHz, channels, bits: 'bits' in form ? Number(form.bits) : 16, blockSamples };
}

/**
 * @param {StreamFormat} one
 * @param {StreamFormat} other
 */
export function sameFormat(one, other) {
  return (
    one.tier === other.tier && one.rateHz === other.rateHz && one.channels === other.channels &&
    one.bits === other.bits && one.packetMs === other.packetMs
  );
}
