// Run by test_features.py, with the built package's folder in the environment: browsers that lack something, played by
// stubs, are told so in a sentence or take another way.

import assert from 'node:assert/strict';
import { webcrypto } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'vitest';
import { pathToFileURL } from 'node:url';

const { BUILT } = process.env;
const module = (name) => import(pathToFileURL(join(BUILT, name)).href);
const read = async (name) => new Uint8Array(readFileSync(join(BUILT, name)));

/** With globals replaced (undefined: absent) while `use` runs. */
async function without(globals, use) {
  const before = Object.keys(globals).map((name) => [name, Object.getOwnPropertyDescriptor(globalThis, name)]);
  for (const [name, value] of Object.entries(globals)) {
    Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
  }
  try {
    return await use();
  } finally {
    for (const [name, descriptor] of before) {
      if (descriptor) Object.defineProperty(globalThis, name, descriptor);
      else delete globalThis[name];
    }
  }
}

test('a browser that cannot run the kernels is told so in a sentence', async () => {
  const { Codec, LoadError } = await module('index.js');
  const told = async (globals, sentence) => {
    await without({ crypto: webcrypto, ...globals }, () =>
      assert.rejects(Codec.load(read), (error) => error instanceof LoadError && sentence.test(error.message)),
    );
  };
  await told({ WebAssembly: undefined }, /^this browser has no WebAssembly, or it is turned off$/);
  await told({ WebAssembly: { ...WebAssembly, validate: () => false } }, /no WebAssembly SIMD: Chrome \d+, .*Safari/);
  await told({ crypto: {} }, /must come over https or from this machine/);
});

test('a microphone that is not given is told of in a sentence', async () => {
  const { Call } = await module('index.js');
  const sentences = {
    NotAllowedError: /does not let this page use the microphone/,
    NotFoundError: /no microphone here/,
    OverconstrainedError: /no microphone here/,
    NotReadableError: /^The microphone cannot be used: in use\.$/,
  };
  const Worker = class {
    postMessage() {}
  };
  for (const [name, sentence] of Object.entries(sentences)) {
    const getUserMedia = async () => {
      throw new DOMException('in use', name);
    };
    await without({ Worker, navigator: { mediaDevices: { getUserMedia } } }, async () => {
      const call = new Call({ url: 'ws://relay', room: 'room' });
      await call._openMicrophone();
      assert.match(call.microphoneTrouble, sentence);
    });
  }
  // As browsers are on plain http from elsewhere.
  await without({ Worker, navigator: {} }, async () => {
    const call = new Call({ url: 'ws://relay', room: 'room' });
    await call._openMicrophone();
    assert.match(call.microphoneTrouble, /only to pages that come over https/);
  });
});

class Connection extends EventTarget {
  static made = [];

  constructor() {
    super();
    this.tracks = [];
    this.channels = [];
    this.iceGatheringState = 'complete';
    Connection.made.push(this);
  }

  addTrack(track) {
    this.tracks.push(track);
    this.sender = {};
    return this.sender;
  }

  getSenders() {
    return this.tracks.map((track) => ({ track }));
  }

  createDataChannel(label, options) {
    this.channels.push({ label, ...options });
    return {};
  }

  async createOffer() {
    return { type: 'offer', sdp: 'v=0' };
  }

  async createAnswer() {
    return { type: 'answer', sdp: 'v=0' };
  }

  async setLocalDescription(description) {
    this.localDescription = description;
  }

  async setRemoteDescription() {}

  getTransceivers() {
    return this.sender ? [{ sender: this.sender, receiver: {}, setCodecPreferences() {} }] : [];
  }

  close() {}
}

test('without a transform both ends of a line take the data channel', async () => {
  const { DirectLines, hasTransform } = await module('direct_line.js');
  const Sender = class {};
  const WithTransform = class {
    get transform() {
      return null;
    }
  };
  await without({ RTCRtpScriptTransform: class {}, RTCRtpSender: WithTransform }, () => assert.ok(hasTransform()));
  const lacking = [
    { RTCRtpScriptTransform: undefined, RTCRtpSender: Sender },
    { RTCRtpScriptTransform: undefined, RTCRtpSender: WithTransform },
    { RTCRtpScriptTransform: class {}, RTCRtpSender: Sender },
  ];
  for (const globals of lacking) {
    await without({ ...globals, RTCPeerConnection: Connection }, async () => {
      assert.ok(!hasTransform());
      Connection.made = [];
      const signals = [];
      const config = { worker: { postMessage() {} }, silence: () => assert.fail('no track is wanted'), iceServers: [] };
      const lines = new DirectLines({ ...config, media: true, signal: (identity, data) => signals.push([identity, data]) });
      lines.make('theirs', true);
      lines.make('ours', false);
      await new Promise((go) => setImmediate(go));
      lines.hear('ours', { ...signals[0][1], sdp: 'v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n' });
      await new Promise((go) => setImmediate(go));
      assert.deepEqual(signals.map(([identity, { kind }]) => [identity, kind]), [['theirs', 'offer'], ['ours', 'answer']]);
      assert.equal(Connection.made.length, 2);
      for (const { tracks, channels } of Connection.made) {
        assert.equal(tracks.length, 0);
        assert.deepEqual(channels, [{ label: 'media', ordered: false, maxRetransmits: 0, negotiated: true, id: 0 }]);
      }
      lines.close();
    });
  }
});

test('a line gives back the track that each of its connections coded', async () => {
  const { DirectLines } = await module('direct_line.js');
  const Sender = class {
    get transform() {
      return null;
    }
  };
  const globals = { RTCRtpScriptTransform: class {}, RTCRtpSender: Sender, RTCRtpReceiver: { getCapabilities: () => null } };
  await without({ ...globals, RTCPeerConnection: Connection }, async () => {
    Connection.made = [];
    const running = new Set();
    const silence = () => {
      const track = { stop: () => running.delete(track) };
      running.add(track);
      return track;
    };
    const lines = new DirectLines({ worker: { postMessage() {} }, silence, signal() {}, iceServers: [], media: true });
    lines.make('theirs', true);
    lines.make('theirs', true);
    await new Promise((go) => setImmediate(go));
    assert.equal(Connection.made.length, 2);
    assert.equal(running.size, 1);
    lines.close();
    assert.equal(running.size, 0);
  });
});

test('a browser without X25519 is known before keys are agreed on', async () => {
  const { hasCurve } = await module('cpace.js');
  const refuse = async () => {
    throw new DOMException('Unrecognized name.', 'NotSupportedError');
  };
  const subtle = { importKey: refuse, generateKey: refuse, deriveBits: refuse };
  await without({ crypto: { subtle } }, async () => assert.equal(await hasCurve(), false));
  await without({ crypto: webcrypto }, async () => assert.equal(await hasCurve(), true));
});
