// The websocket to a relay: joins a room, carries datagrams and signals, and comes back when the line breaks. The
// messages: `streamcodec/net/signalling.py`.

export const EVERYONE = 255;
/** Failures that trying again will not mend. */
const PERMANENT = new Set(['bad-token', 'token-in-use', 'expired', 'bad-message', 'replaced']);
/** Ends a first try; whoever was there before comes back when there is room. */
const ROOM_FULL = 'room-full';
const RETRY_MS = [200, 400, 800, 1_600, 3_000];
const ATTEMPT_MS = 5_000;
/** What waits unsent for so long will never go. */
const STUCK_MS = 4_000;
const MOST_WAITING_BYTES = 4_096;
/** Around a short message: frame, mask, TLS record, TCP and IPv4 headers, as Python counts where it cannot measure. */
const MESSAGE_BYTES = 80;

/**
 * @typedef {object} PeerInfo
 * @property {number} peer Its number on the relay, until it connects anew.
 * @property {string} name
 * @property {string} identity
 * @property {string} bitstream
 * @property {boolean} speaks
 * @property {boolean} hears
 */

/**
 * @typedef {object} RelayEvents
 * @property {(peer: number, datagram: Uint8Array) => void} onDatagram
 * @property {(welcome: {peer: number, identity: string, speaks: boolean, hears: boolean, peers: PeerInfo[]}) => void}
 *   onWelcome
 * @property {(info: PeerInfo) => void} onJoined
 * @property {(peer: number) => void} onLeft
 * @property {(peer: number, data: Record<string, unknown>) => void} onSignal
 * @property {(failure: {code: string, reason: string} | null) => void} onLost The line is down; with a failure for good.
 */

/** @typedef {{url: string, room: string, name: string, token: string, bitstream: string}} JoinFields */

export class RelayClient {
  /**
   * @param {JoinFields} fields
   * @param {RelayEvents} events
   */
  constructor(fields, events) {
    this._fields = fields;
    this._events = events;
    this._session = secret();
    /** @type {WebSocket | null} */
    this._socket = null;
    this._joined = false;
    this._left = false;
    this._attempts = 0;
    this._stuckSinceMs = 0;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this._timer = undefined;
    /** Bytes on the wire since the start, headers calculated. */
    this.sentBytes = 0;
    this.receivedBytes = 0;
    /** Datagrams given to send while the line was down or full. */
    this.dropped = 0;
    this.connects = 0;
  }

  get connected() {
    return this._joined;
  }

  start() {
    const socket = new WebSocket(this._fields.url);
    this._socket = socket;
    this._joined = false;
    socket.binaryType = 'arraybuffer';
    socket.onopen = () => {
      const { room, name, token, bitstream } = this._fields;
      this._write(JSON.stringify({ type: 'join', room, session: this._session, name, token, bitstream }));
    };
    socket.onmessage = ({ data }) => {
      if (this._socket === socket) this._hear(data);
    };
    socket.onclose = () => this._lost(socket, null);
    this._timer = setTimeout(() => this._lost(socket, null), ATTEMPT_MS);
  }

  leave() {
    this._left = true;
    clearTimeout(this._timer);
    this._socket?.close(1000);
  }

  /**
   * To one peer or everyone; a datagram never waits long.
   * @param {Uint8Array} datagram
   * @param {number} [peer]
   */
  send(datagram, peer = EVERYONE) {
    const socket = this._socket;
    if (!socket || !this._joined || socket.bufferedAmount > MOST_WAITING_BYTES) {
      this.dropped += 1;
      return;
    }
    const message = new Uint8Array(datagram.length + 1);
    message[0] = peer;
    message.set(datagram, 1);
    this._write(message);
  }

  /**
   * @param {number} peer
   * @param {Record<string, unknown>} data
   */
  signal(peer, data) {
    if (this._joined) this._write(JSON.stringify({ type: 'signal', peer, data }));
  }

  /**
   * Now and then: a line on which nothing goes out any more is given up.
   * @param {number} nowMs
   */
  tick(nowMs) {
    const socket = this._socket;
    if (!socket || !this._joined || socket.bufferedAmount === 0) this._stuckSinceMs = nowMs;
    else if (nowMs - this._stuckSinceMs > STUCK_MS) this._lost(socket, null);
  }

  /** @param {string | Uint8Array<ArrayBuffer>} message */
  _write(message) {
    this.sentBytes += message.length + MESSAGE_BYTES;
    this._socket?.send(message);
  }

  /** @param {string | ArrayBuffer} data */
  _hear(data) {
    if (typeof data !== 'string') {
      this.receivedBytes += data.byteLength + MESSAGE_BYTES;
      const bytes = new Uint8Array(data);
      if (bytes.length >= 2) this._events.onDatagram(bytes[0], bytes.subarray(1));
      return;
    }
    this.receivedBytes += data.length + MESSAGE_BYTES;
    const message = parse(data);
    if (message === null) return;
    const { onWelcome, onJoined, onLeft, onSignal } = this._events;
    if (message.type === 'welcome' && Array.isArray(message.peers)) {
      clearTimeout(this._timer);
      this._joined = true;
      this._attempts = 0;
      this.connects += 1;
      const peers = message.peers.map(peerInfo).filter((info) => info !== null);
      const { peer, identity = '', speaks, hears } = message;
      onWelcome({ peer, identity, speaks: speaks !== false, hears: hears !== false, peers });
    } else if (message.type === 'peer-joined') {
      const info = peerInfo(message);
      if (info) onJoined(info);
    } else if (message.type === 'peer-left') {
      onLeft(message.peer);
    } else if (message.type === 'signal' && message.data && typeof message.data === 'object') {
      onSignal(message.peer, message.data);
    } else if (message.type === 'failure' && this._socket) {
      const { code = '', reason = '' } = message;
      const final = PERMANENT.has(code) || (code === ROOM_FULL && this.connects === 0);
      if (final) this._lost(this._socket, { code, reason });
    }
  }

  /**
   * @param {WebSocket} socket
   * @param {{code: string, reason: string} | null} failure
   */
  _lost(socket, failure) {
    if (this._socket !== socket) return;
    clearTimeout(this._timer);
    this._socket = null;
    this._joined = false;
    socket.close();
    if (this._left) return;
    this._events.onLost(failure);
    if (failure) return;
    const pauseMs = RETRY_MS[Math.min(this._attempts++, RETRY_MS.length - 1)];
    this._timer = setTimeout(() => this.start(), pauseMs * (0.75 + Math.random() / 4));
  }
}

/** What a session is known by: whoever shows it again takes its place. */
function secret() {
  const bytes = crypto.getRandomValues(new Uint8Array(24));
  return btoa(String.fromCharCode(...bytes)).replaceAll('+', '-').replaceAll('/', '_');
}

/**
 * @param {string} text
 * @returns {Record<string, any> | null}
 */
function parse(text) {
  try {
    const value = JSON.parse(text);
    return value !== null && typeof value === 'object' ? value : null;
  } catch {
    return null;
  }
}

/**
 * @param {any} fields
 * @returns {PeerInfo | null}
 */
function peerInfo(fields) {
  if (!fields || !Number.isInteger(fields.peer)) return null;
  const { peer, name = '', identity = '', bitstream = '', speaks, hears } = fields;
  if (typeof name !== 'string' || typeof identity !== 'string' || typeof bitstream !== 'string') return null;
  return { peer, name, identity, bitstream, speaks: speaks !== false, hears: hears !== false };
}
