// The page's end of direct lines: one connection to each peer, whose audio line carries our frames in place of Opus'
// (`RTCRtpScriptTransform`, in the worker), beside a data channel. As `streamcodec/net/webrtc.py`.

import { WIRE_VERSION } from './framing.js';

const OPEN_TIMEOUT_MS = 8_000;
const RETRY_MS = 15_000;
const GATHER_MS = 1_000;
const LONGEST_DESCRIPTION = 12_000;
const IP_AND_UDP_BYTES = 28;

/** @typedef {Record<string, unknown>} Signal */

/**
 * @typedef {object} LinesConfig
 * @property {Worker} worker
 * @property {(identity: string, generation: number) => MediaStreamTrack} silence A track for the browser to code on this
 *   connection; what it codes never goes out.
 * @property {(identity: string, data: Signal) => void} signal
 * @property {RTCIceServer[]} iceServers
 * @property {boolean} media Whether an audio line is offered; without, everything goes on the data channel.
 */

/** Whether this browser lets a worker put its own bytes on an audio line. */
export function hasTransform() {
  return typeof RTCRtpScriptTransform !== 'undefined' && 'transform' in RTCRtpSender.prototype;
}

export class DirectLines {
  /** @param {LinesConfig} config */
  constructor(config) {
    this._config = config;
    /** @type {Map<string, DirectLine>} */
    this._lines = new Map();
    this._past = { sent: 0, received: 0 };
  }

  /**
   * @param {string} identity
   * @param {boolean} offers
   */
  make(identity, offers) {
    this.drop(identity);
    const line = new DirectLine(this._config, identity, offers);
    this._lines.set(identity, line);
    line.start();
  }

  /** @param {string} identity */
  drop(identity) {
    const line = this._lines.get(identity);
    this._lines.delete(identity);
    line?.close();
    if (line) this._past = add(this._past, line.bytes);
  }

  close() {
    for (const identity of [...this._lines.keys()]) this.drop(identity);
  }

  /**
   * @param {string} identity
   * @param {Signal} data
   */
  hear(identity, data) {
    void this._lines.get(identity)?.hear(data);
  }

  /**
   * @param {string} identity
   * @param {Uint8Array<ArrayBuffer>} data
   */
  send(identity, data) {
    this._lines.get(identity)?.send(data);
  }

  /** Bytes on the wire since the start, headers of IPv4 and UDP included. */
  async bytes() {
    let total = this._past;
    for (const line of this._lines.values()) total = add(total, await line.count());
    return total;
  }
}

class DirectLine {
  /**
   * @param {LinesConfig} config
   * @param {string} identity
   * @param {boolean} offers
   */
  constructor(config, identity, offers) {
    this._config = config;
    this._identity = identity;
    this._offers = offers;
    this._attempt = 0;
    /** Which of our connections to this peer is in use: frames of an earlier one must not be taken for its. */
    this._generation = 0;
    this._closed = false;
    /** @type {RTCPeerConnection | null} */
    this._connection = null;
    /** @type {RTCDataChannel | null} */
    this._channel = null;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this._timer = undefined;
    this.bytes = { sent: 0, received: 0 };
    this._before = { sent: 0, received: 0 };
  }

  start() {
    if (this._offers) void this._offer();
  }

  close() {
    this._closed = true;
    clearTimeout(this._timer);
    this._drop();
  }

  /** @param {Uint8Array<ArrayBuffer>} data */
  send(data) {
    const channel = this._channel;
    if (channel?.readyState === 'open' && channel.bufferedAmount < 8_800) channel.send(data);
  }

  /** @param {Signal} data */
  async hear({ kind, attempt, wire, sdp }) {
    if (!Number.isInteger(attempt) || typeof sdp !== 'string' || wire !== WIRE_VERSION) return;
    if (sdp.length > LONGEST_DESCRIPTION) return;
    try {
      if (kind === 'offer' && !this._offers) await this._answer(/** @type {number} */ (attempt), sdp);
      else if (kind === 'answer' && this._offers && attempt === this._attempt) {
        if (this._connection?.signalingState !== 'have-local-offer') return;
        await this._connection.setRemoteDescription({ type: 'answer', sdp: plain(sdp) });
      }
    } catch {
      // Whatever a peer's description makes the browser reject, the relay carries the call.
      this._drop();
    }
  }

  async count() {
    const connection = this._connection;
    if (connection) {
      let now = { sent: 0, received: 0 };
      (await connection.getStats()).forEach((stats) => {
        if (stats.type !== 'transport') return;
        const { bytesSent = 0, packetsSent = 0, bytesReceived = 0, packetsReceived = 0 } = stats;
        now = add(now, {
          sent: bytesSent + IP_AND_UDP_BYTES * packetsSent,
          received: bytesReceived + IP_AND_UDP_BYTES * packetsReceived,
        });
      });
      if (this._connection === connection) this.bytes = add(this._before, now);
    }
    return this.bytes;
  }

  async _offer() {
    this._attempt += 1;
    const connection = this._connect(this._config.media && hasTransform());
    this._timer = setTimeout(() => {
      if (connection.connectionState !== 'connected') this._again();
    }, OPEN_TIMEOUT_MS);
    try {
      await connection.setLocalDescription(await connection.createOffer());
      await gathered(connection);
      this._signal('offer', this._attempt, connection);
    } catch {
      this._again();
    }
  }

  /**
   * @param {number} attempt
   * @param {string} description
   */
  async _answer(attempt, description) {
    const media = this._config.media && hasTransform() && description.includes('\nm=audio ');
    const connection = this._connect(media);
    await connection.setRemoteDescription({ type: 'offer', sdp: plain(description) });
    await connection.setLocalDescription(await connection.createAnswer());
    await gathered(connection);
    this._signal('answer', attempt, connection);
  }

  /** @param {boolean} media */
  _connect(media) {
    this._drop();
    const { worker, iceServers, silence } = this._config;
    const identity = this._identity;
    const generation = ++this._generation;
    const connection = new RTCPeerConnection({ iceServers, bundlePolicy: 'max-bundle' });
    this._connection = connection;
    if (media) {
      const sender = connection.addTrack(silence(identity, generation));
      const transceiver = connection.getTransceivers().find((each) => each.sender === sender);
      const codecs = RTCRtpReceiver.getCapabilities('audio')?.codecs ?? [];
      transceiver?.setCodecPreferences(codecs.filter(({ mimeType }) => mimeType.toLowerCase() === 'audio/opus'));
      sender.transform = new RTCRtpScriptTransform(worker, { identity, generation, side: 'send' });
      const receiver = /** @type {RTCRtpTransceiver} */ (transceiver).receiver;
      receiver.transform = new RTCRtpScriptTransform(worker, { identity, generation, side: 'receive' });
    }
    const channel = connection.createDataChannel('media', {
      ordered: false, maxRetransmits: 0, negotiated: true, id: 0,
    });
    this._channel = channel;
    channel.binaryType = 'arraybuffer';
    channel.onopen = () => {
      if (this._connection === connection) this._tell('channel');
    };
    channel.onmessage = ({ data }) => {
      if (this._connection !== connection || !(data instanceof ArrayBuffer)) return;
      worker.postMessage({ type: 'channel', identity, data: new Uint8Array(data) }, [data]);
    };
    connection.onconnectionstatechange = () => this._changed(connection);
    this._tell('fresh');
    return connection;
  }

  /** @param {RTCPeerConnection} connection */
  _changed(connection) {
    if (connection !== this._connection) return;
    const { connectionState } = connection;
    if (connectionState === 'connected') {
      const both = connection.getTransceivers().some(({ currentDirection }) => currentDirection === 'sendrecv');
      if (both) this._tell('media');
    } else if (connectionState === 'failed' || connectionState === 'closed') {
      this._again();
    }
  }

  _again() {
    clearTimeout(this._timer);
    this._drop();
    if (this._offers && !this._closed) this._timer = setTimeout(() => void this._offer(), RETRY_MS);
  }

  _drop() {
    const connection = this._connection;
    if (!connection) return;
    this._before = this.bytes;
    this._connection = this._channel = null;
    connection.onconnectionstatechange = null;
    for (const { track } of connection.getSenders()) track?.stop();
    connection.close();
    this._tell('closed');
  }

  /** @param {'fresh' | 'channel' | 'media' | 'closed'} event */
  _tell(event) {
    const { _identity: identity, _generation: generation } = this;
    this._config.worker.postMessage({ type: 'line', identity, generation, event });
  }

  /**
   * @param {'offer' | 'answer'} kind
   * @param {number} attempt
   * @param {RTCPeerConnection} connection
   */
  _signal(kind, attempt, connection) {
    if (connection !== this._connection || !connection.localDescription) return;
    const sdp = plain(connection.localDescription.sdp);
    this._config.signal(this._identity, { kind, attempt, wire: WIRE_VERSION, sdp });
  }
}

/**
 * A session description without RTP header extensions and feedback, which would cost bytes in every packet.
 * @param {string} sdp
 */
function plain(sdp) {
  return sdp.replaceAll(/^a=(extmap|extmap-allow-mixed|rtcp-fb)\b.*\r?\n/gm, '');
}

/** @param {RTCPeerConnection} connection Until its addresses are known: descriptions travel once, whole. */
async function gathered(connection) {
  if (connection.iceGatheringState === 'complete') return;
  await new Promise((resolve) => {
    const timer = setTimeout(resolve, GATHER_MS);
    connection.addEventListener('icegatheringstatechange', () => {
      if (connection.iceGatheringState !== 'complete') return;
      clearTimeout(timer);
      resolve(undefined);
    });
  });
}

/**
 * @param {{sent: number, received: number}} one
 * @param {{sent: number, received: number}} other
 */
function add(one, other) {
  return { sent: one.sent + other.sent, received: one.received + other.received };
}
