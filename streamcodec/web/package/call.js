// A call from a page: microphone and loudspeaker here, everything else in the call's worker.

import { CallError } from './errors.js';
import { DirectLines, hasTransform } from './direct_line.js';
import { RingBuffer } from './ring_buffer.js';

/** A power of two, so that positions may wrap: a third of a second at 48 kHz. */
const RING_SAMPLES = 16_384;
const USUAL_CARD_HZ = 48_000;
/** Seconds asked of the sound card: its least, 15 ms below what `interactive` gives in Chromium on PulseAudio. */
const LEAST_LATENCY = 0;
const COUNT_MS = 500;
/** Blocks of 10 ms that wait for the worker; older ones give way. */
const TRACK_BLOCKS = 25;
/** Without a sound card some browsers neither start nor fail. */
const SOUND_MS = 4_000;

/**
 * @typedef {object} CallSettings
 * @property {string} url The relay, `wss://…` or `ws://…`.
 * @property {string} room
 * @property {string} [name]
 * @property {string} [token]
 * @property {string} [passphrase] Known to the people of the room and not to the relay: what passes it is sealed.
 * @property {number} [bitrate] The payload's highest rate, in bits a second; 6,000 unless given.
 * @property {number} [packetMs] 20, 40, … 120; 20 unless given.
 * @property {number} [wireKbps] Keep what is sent within this rate on the wire, headers included, 7 to 200: packet length,
 *   payload rate and redundancy are then chosen together, in place of `bitrate` and `packetMs`.
 * @property {boolean} [dtx] Send next to nothing while there is only background.
 * @property {boolean} [congestion] Whether rate and redundancy follow the receivers' reports; true unless given.
 * @property {'auto' | 'data-channel' | 'relay'} [transport] What media travel on at best; `auto` is SRTP.
 * @property {RTCIceServer[]} [iceServers] None unless given: nothing outside is asked.
 * @property {boolean} [listen] Without a microphone.
 * @property {string} [microphone] Its device id.
 * @property {string} [loudspeaker]
 * @property {string | URL} [files] Where the codec's files lie; beside this script unless given.
 */

/**
 * One person's end of a call. Events: `state` (ten times a second, `detail` as the worker tells it), `peer`, `lost`,
 * `joined`, `failed` (with a sentence).
 */
export class Call extends EventTarget {
  /** @param {CallSettings} settings */
  constructor(settings) {
    super();
    this._settings = settings;
    this._worker = new Worker(new URL('./call_worker.js', import.meta.url), { type: 'module' });
    this._lines = new DirectLines({
      worker: this._worker,
      silence: (identity, generation) => this._silence(identity, generation),
      signal: (identity, data) => this._worker.postMessage({ type: 'signal-line', identity, data }),
      iceServers: settings.iceServers ?? [],
      media: settings.transport !== 'data-channel',
    });
    /** @type {AudioContext | null} */
    this._context = null;
    /** @type {MediaStreamTrack | null} Silence, of which each connection codes a copy. */
    this._still = null;
    /** A phone call or another tab may have stopped the sound. */
    this._resume = () => void this._context?.resume();
    /** @type {MediaStream | null} */
    this._microphone = null;
    /** @type {AudioWorkletNode | null} */
    this._node = null;
    /** @type {MediaStreamAudioSourceNode | null} */
    this._source = null;
    /** @type {readonly number[]} Rates that the codec's kernel converts from. */
    this._rates = [];
    this._muted = false;
    /** @type {Record<string, any> | null} As of the last `state` event. */
    this.state = null;
    /** Why there is no microphone, in words; empty where there is one, or none was wanted. */
    this.microphoneTrouble = '';
    this._worker.onmessage = ({ data }) => this._hear(data);
    this._worker.onerror = (event) => {
      event.preventDefault();
      this._tell('failed', { sentence: `The call's worker cannot be started: ${event.message || 'see the console'}.` });
    };
  }

  /** What the audio line can be here: our frames on SRTP, or the data channel. */
  static get transport() {
    return hasTransform() ? 'srtp' : 'data-channel';
  }

  /**
   * Open devices and enter the room; call it from a click, or the browser keeps the sound off.
   * Throws CallError where the codec cannot be started or the relay refuses.
   */
  async join() {
    const { url, room, name = '', token = '', passphrase = '', bitrate = 6_000, packetMs = 20, congestion = true } = this._settings;
    const { transport = 'auto', listen = false, dtx = false, wireKbps = 0, files = new URL('./', import.meta.url) } = this._settings;
    this._context = new AudioContext({ latencyHint: LEAST_LATENCY });
    const ready = this._until('loaded');
    const joined = this._until('joined');
    joined.catch(() => undefined);
    if (!listen) await this._openMicrophone(this._settings.microphone);
    this._worker.postMessage({
      type: 'join', files: String(files), fields: { url, room, name, token }, bitrate, packetMs, congestion,
      direct: transport !== 'relay' && typeof RTCPeerConnection !== 'undefined', listens: this._microphone === null,
      passphrase, dtx, wireKbps,
    });
    const { rates } = await ready;
    this._rates = rates;
    if (!rates.includes(this._context.sampleRate)) {
      // The browser converts what the kernel has no filter for.
      await this._context.close();
      this._context = new AudioContext({ latencyHint: LEAST_LATENCY, sampleRate: USUAL_CARD_HZ });
    }
    await this._startSound();
    document.addEventListener('visibilitychange', this._resume);
    await joined;
    this._counting = setInterval(() => void this._count(), COUNT_MS);
  }

  /** @param {boolean} muted */
  set muted(muted) {
    this._muted = muted;
    this._worker.postMessage({ type: 'mute', muted });
  }

  get muted() {
    return this._muted;
  }

  /** @param {{bitrate?: number, packetMs?: number, dtx?: boolean, wireKbps?: number}} settings `wireKbps` 0: none */
  change(settings) {
    this._worker.postMessage({ type: 'change', ...settings });
  }

  /** @param {string} [deviceId] */
  async setMicrophone(deviceId) {
    this._microphone?.getTracks().forEach((track) => track.stop());
    this._source?.disconnect();
    this._microphone = this._source = null;
    await this._openMicrophone(deviceId);
    this._connectMicrophone();
    this._worker.postMessage({ type: 'listens', listens: this._microphone === null });
  }

  /** @param {string} deviceId */
  async setLoudspeaker(deviceId) {
    const context = /** @type {any} */ (this._context);
    if (context?.setSinkId) await context.setSinkId(deviceId);
  }

  /** Say goodbye and let go of everything. */
  async leave() {
    clearInterval(this._counting);
    document.removeEventListener('visibilitychange', this._resume);
    const left = this._until('left');
    left.catch(() => undefined);
    this._worker.postMessage({ type: 'leave' });
    await Promise.race([left, new Promise((resolve) => setTimeout(resolve, 500))]);
    this._lines.close();
    this._node?.port.postMessage({ end: true });
    this._microphone?.getTracks().forEach((track) => track.stop());
    await this._context?.close();
    this._worker.terminate();
  }

  // -- inside

  /** @param {Record<string, any>} message */
  _hear(message) {
    const { type, identity, data } = message;
    if (type === 'make-line') this._lines.make(identity, message.offers);
    else if (type === 'drop-line') this._lines.drop(identity);
    else if (type === 'signal-line') this._lines.hear(identity, data);
    else if (type === 'channel') this._lines.send(identity, data);
    else if (type === 'unread') this._hearMicrophone();
    else {
      if (type === 'state') this.state = message.state;
      this._tell(type, type === 'state' ? message.state : message);
    }
  }

  /**
   * @param {string} type
   * @param {unknown} detail
   */
  _tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  /**
   * @param {string} type
   * @returns {Promise<any>}
   */
  _until(type) {
    return new Promise((resolve, reject) => {
      this.addEventListener(type, (event) => resolve(/** @type {CustomEvent} */ (event).detail), { once: true });
      this.addEventListener('failed', (event) => {
        reject(new CallError(/** @type {CustomEvent} */ (event).detail.sentence));
      });
      this.addEventListener('lost', (event) => {
        const { failure } = /** @type {CustomEvent} */ (event).detail;
        if (failure) reject(new CallError(`The relay refused: ${failure.reason}.`));
      });
    });
  }

  /** @param {string} [deviceId] */
  async _openMicrophone(deviceId) {
    this.microphoneTrouble = '';
    const audio = {
      channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true,
      ...(deviceId ? { deviceId: { exact: deviceId } } : {}),
    };
    try {
      if (!navigator.mediaDevices) throw new DOMException('', 'SecurityError');
      this._microphone = await navigator.mediaDevices.getUserMedia({ audio });
    } catch (error) {
      this.microphoneTrouble = troubleOf(error);
    }
  }

  async _startSound() {
    const context = /** @type {AudioContext} */ (this._context);
    await Promise.race([context.resume(), new Promise((resolve) => setTimeout(resolve, SOUND_MS))]);
    if (context.state !== 'running') {
      throw new CallError('The browser does not start its sound: plug a loudspeaker in or choose one, then join again.');
    }
    await context.audioWorklet.addModule(new URL('./sound_worklet.js', import.meta.url));
    const node = new AudioWorkletNode(context, 'streamcodec-sound', {
      numberOfInputs: 1, numberOfOutputs: 1, outputChannelCount: [1],
    });
    this._node = node;
    const { port1, port2 } = new MessageChannel();
    const shared = globalThis.crossOriginIsolated
      ? { heard: RingBuffer.make(RING_SAMPLES), played: RingBuffer.make(RING_SAMPLES) }
      : {};
    node.port.postMessage({ port: port1, ...shared }, [port1]);
    this._worker.postMessage({ type: 'card', port: port2, cardHz: context.sampleRate, ...shared }, [port2]);
    node.connect(context.destination);
    this._connectMicrophone();
    const { loudspeaker } = this._settings;
    if (loudspeaker) await this.setLoudspeaker(loudspeaker);
  }

  _connectMicrophone() {
    if (!this._context || !this._node || !this._microphone) return;
    if (!this._readMicrophone(this._microphone.getAudioTracks()[0])) this._hearMicrophone();
  }

  /** By way of the sound context, at its rate. */
  _hearMicrophone() {
    if (!this._context || !this._node || !this._microphone) return;
    this._source = this._context.createMediaStreamSource(this._microphone);
    this._source.connect(this._node);
  }

  /**
   * Where the browser gives a track's sound as it comes, the worker takes it: by way of the sound context it would wait
   * for the loudspeaker's clock first.
   * @param {MediaStreamTrack} track
   * @returns {boolean} whether it does
   */
  _readMicrophone(track) {
    const { MediaStreamTrackProcessor: Processor } = /** @type {any} */ (globalThis);
    const { sampleRate: rateHz } = track.getSettings();
    if (!Processor || !rateHz || !this._rates.includes(rateHz)) return false;
    try {
      const { readable } = new Processor({ track, maxBufferSize: TRACK_BLOCKS });
      this._worker.postMessage({ type: 'microphone', readable }, [readable]);
      return true;
    } catch {
      return false; // Some take video only.
    }
  }

  /**
   * Where a track takes the sound of a script, the worker makes silence whenever a packet is to go out, so that it goes
   * at once; elsewhere the sound context's clock tells when.
   * @param {string} identity
   * @param {number} generation
   * @returns {MediaStreamTrack}
   */
  _silence(identity, generation) {
    const { MediaStreamTrackGenerator: Generator } = /** @type {any} */ (globalThis);
    if (Generator) {
      try {
        const track = new Generator({ kind: 'audio' });
        const { writable } = track;
        this._worker.postMessage({ type: 'pace', identity, generation, writable }, [writable]);
        return track;
      } catch {
        // Some make video only.
      }
    }
    this._still ??= silentTrack(/** @type {AudioContext} */ (this._context));
    return this._still.clone();
  }

  async _count() {
    this._worker.postMessage({ type: 'wire', ...(await this._lines.bytes()) });
  }
}

/** @param {AudioContext} context */
function silentTrack(context) {
  const destination = context.createMediaStreamDestination();
  const source = new ConstantSourceNode(context, { offset: 0 });
  source.connect(destination);
  source.start();
  return destination.stream.getAudioTracks()[0];
}

/** @param {unknown} error */
function troubleOf(error) {
  const name = error instanceof DOMException ? error.name : '';
  if (name === 'NotAllowedError') {
    return 'The browser does not let this page use the microphone: allow it beside the address, then join again.';
  }
  if (name === 'NotFoundError' || name === 'OverconstrainedError') {
    return 'There is no microphone here: plug one in, then join again.';
  }
  if (name === 'SecurityError') return 'Browsers give a microphone only to pages that come over https or from this machine.';
  return `The microphone cannot be used: ${error instanceof Error ? error.message || name : error}.`;
}
