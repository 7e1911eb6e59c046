// Run by test_call_parts.py: end-to-end keys as Python's, and what they keep out. Times are simulated.

import assert from 'node:assert/strict';
import { webcrypto } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'vitest';
import { pathToFileURL } from 'node:url';

globalThis.crypto ??= webcrypto;

const { BUILT, FIXTURES } = process.env;
const load = (name) => import(pathToFileURL(join(BUILT, name)).href);
const { CPace, generator } = await load('cpace.js');
const { EndToEnd } = await load('end_to_end.js');
const { CallError, SealError } = await load('errors.js');
const { EVERYBODY, Handshake, Introduction, context } = await load('handshake.js');
const { fromText, random, toText, utf8 } = await load('octets.js');
const { newPassphrase, roomKeyFromPassphrase } = await load('passphrase.js');
const { scrypt } = await load('scrypt.js');
const { MediaReceiver, MediaSender, ReplayWindow } = await load('sealed_media.js');
const { Session } = await load('sealed_session.js');
const { decodeHeader, encodeHeader } = await load('sframe.js');

const golden = JSON.parse(readFileSync(join(FIXTURES, 'golden_e2e.json'), 'utf8'));
const bytes = (hex) => Uint8Array.from(Buffer.from(hex, 'hex'));
const hex = (array) => Buffer.from(array).toString('hex');
const text = (array) => new TextDecoder().decode(array);

test('scrypt is that of RFC 7914, and rooms have the keys that Python gives them', async () => {
  const found = await scrypt(utf8('pleaseletmein'), utf8('SodiumChloride'), 1 << 14, 8, 64);
  assert.equal(hex(found.slice(0, 16)), '7023bdcb3afd7348461c06cd81fd38eb');
  assert.equal(hex(await roomKeyFromPassphrase(golden.passphrase, golden.room)), golden.room_key);
  // Spaces of any kind are one kind, and letters are composed, whatever the keyboard.
  const [one, other] = ['na\u0308he\u3000am', 'n\u00e4he am'];
  assert.equal(hex(await roomKeyFromPassphrase(one, 'r')), hex(await roomKeyFromPassphrase(other, 'r')));
  await assert.rejects(roomKeyFromPassphrase('', 'r'), CallError);
  assert.match(newPassphrase(), /^([a-z2-9]{4}-){3}[a-z2-9]{4}$/);
  assert.notEqual(newPassphrase(), newPassphrase());
});

// draft-irtf-cfrg-cpace, appendix B.1.
const CPACE = {
  generator: 'd04bf6d41f6a289632a2e929fa29bebd51092512a7829fdde7d314b62f05a73f',
  scalars: [
    '21b4f4bd9e64ed355c3eb676a28ebedaf6d8f17bdc365995b319097153044080',
    '848b0779ff415f0af4ea14df9dd1d3c29ac41d836c7808896c4eba19c51ac40a',
  ],
  shares: [
    '1d13c89278cdadd826f6d8d7f887701430f8380ddc17611cdd6dc989ce0c9f32',
    '248cccf6d5cdc3646f0ad593f9e6cef4e69d4945f8372e623512ecea32185623',
  ],
  key:
    'eef745e2f6e7ae2b1a1e53da340e777167a07fe150436648c51fb199c11f3cba' +
    'bfc683a2b48e1af5881940dc398d375c95e6b4ae9948a45b8770de0656382be4',
  lowOrder: [
    '00'.repeat(32), `01${'00'.repeat(31)}`, `ec${'ff'.repeat(30)}7f`, `ed${'ff'.repeat(30)}7f`,
    'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800',
    '5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157',
  ],
};

test('CPace gives what the vectors of its draft give, and takes no share of low order', async () => {
  const channel = bytes('0b415f696e69746961746f720b425f726573706f6e646572');
  const session = bytes('7e4b4791d6a8ef019b936c79fb7f2c57');
  assert.equal(hex(await generator(utf8('Password'), channel, session)), CPACE.generator);
  const [a, b] = CPACE.scalars.map(bytes);
  const ann = await CPace.make(utf8('Password'), channel, session, utf8('ADa'), a);
  const bob = await CPace.make(utf8('Password'), channel, session, utf8('ADb'), b);
  assert.deepEqual([ann, bob].map(({ share }) => hex(share)), CPACE.shares);
  const keys = [await ann.finish(bob.share, utf8('ADb')), await bob.finish(ann.share, utf8('ADa'))];
  for (const { key } of keys) assert.equal(hex(key), CPACE.key);
  assert.ok(keys[0].confirms(keys[1].tag) && keys[1].confirms(keys[0].tag) && !keys[0].confirms(keys[0].tag));
  for (const share of [...CPACE.lowOrder.map(bytes), ann.share, new Uint8Array(31)]) {
    await assert.rejects(ann.finish(share, utf8('ADb')), SealError);
  }
});

test('an exchange with Python, to the byte', async () => {
  const secret = bytes(golden.room_key);
  const ends = {};
  const people = { ann: Introduction.fromMessage(golden.said.ann[0]), bob: Introduction.fromMessage(golden.said.bob[0]) };
  for (const [own, other] of [['ann', 'bob'], ['bob', 'ann']]) {
    const handshake = new Handshake(secret, golden.room, people[own]);
    await handshake.meet(people[other], bytes(golden.scalars[own]));
    for (const message of golden.said[other].slice(1)) {
      if (message.kind === 'share') handshake.show();
      if (message.kind === 'confirm') handshake.confirm();
      await handshake.hear(message);
    }
    assert.deepEqual(handshake.sent, golden.said[own]);
    assert.ok(handshake.confirmed);
    ends[own] = await Session.make(handshake, golden.room);
    assert.equal(ends[own].verification, golden.verification[own]);
  }
  assert.deepEqual(await ends.bob.open(fromText(golden, 'signal_of_ann')), { kind: 'has', generation: 0 });
  await assert.rejects(ends.bob.open(fromText(golden, 'signal_of_ann')), SealError);
  assert.equal(text(await ends.bob.fromOne.open(bytes(golden.report_of_ann_for_bob))), 'report');
  assert.equal(hex(await ends.ann.toOne.seal(utf8('report'))), golden.report_of_ann_for_bob);

  const key = { generation: 0, step: 0, baseKey: bytes(golden.media_key_of_ann), counter: 0 };
  const about = await context('media', golden.room, people.ann, EVERYBODY);
  const sender = await MediaSender.make(about, { baseKey: key.baseKey });
  const receiver = await MediaReceiver.make(about, key);
  for (const sealed of golden.media_of_ann) {
    assert.equal(hex(await sender.seal(utf8('sound'))), sealed);
    assert.equal(text(await receiver.open(bytes(sealed))), 'sound');
  }
  await sender.step();
  assert.equal(hex(await sender.seal(utf8('sound'))), golden.media_of_ann_after_a_step);
  assert.equal(text(await receiver.open(bytes(golden.media_of_ann_after_a_step))), 'sound');
  for (const bad of [golden.media_of_ann[0], `${golden.media_of_ann[3].slice(0, -2)}00`, '00'.repeat(30), '80ff', '']) {
    await assert.rejects(receiver.open(bytes(bad)), SealError);
  }
});

test('headers and windows hold over their whole range', () => {
  for (const number of [0, 7, 8, 255, 256, 65_535, 65_536, 2 ** 32, 2 ** 48 - 1]) {
    const header = encodeHeader(number, number);
    assert.deepEqual(decodeHeader(header), { kid: number, counter: number, length: header.length });
    if (header.length > 1) assert.throws(() => decodeHeader(header.slice(0, -1)), SealError);
  }
  assert.throws(() => decodeHeader(Uint8Array.of(0x80, 5)), SealError, 'a longer form than is needed');
  const window = new ReplayWindow(5);
  assert.throws(() => window.check(4), SealError);
  for (const counter of [5, 7, 6, 1_500, 500, 9_000]) {
    window.check(counter);
    window.mark(counter);
    assert.throws(() => window.check(counter), SealError);
  }
  assert.throws(() => window.check(9_000 - 1_024), SealError);
  window.check(9_000 - 1_023);
});

/** People in one room, whose signals may be lost or changed on the way. */
class Company {
  nowMs = 0;
  people = new Map();
  carry = (from, to, data) => data;

  add(name, secret, endpoint = name) {
    const states = {};
    const end = new EndToEnd({
      secret, room: 'room', name: `${name}`, bitstream: 'b', nowMs: () => this.nowMs,
      send: (to, data) => {
        const carried = this.carry(endpoint, to, structuredClone(data));
        if (carried) void this.people.get(to)?.end.hear(endpoint, carried);
      },
      onState: (who, state) => (states[who] = state),
    });
    for (const [identity, other] of this.people) {
      other.end.meet(endpoint);
      end.meet(identity);
    }
    this.people.set(endpoint, { end, states });
    return end;
  }

  leave(endpoint) {
    this.people.delete(endpoint);
    for (const { end } of this.people.values()) end.forget(endpoint);
  }

  async run(seconds) {
    for (let tick = 0; tick < 10 * seconds; tick++) {
      this.nowMs += 100;
      for (const { end } of this.people.values()) end.tick();
      // A signal sets off others.
      for (let round = 0; round < 12; round++) for (const { end } of this.people.values()) await end.settled;
    }
  }
}

const secret = random(32);

test('people with the same secret hear each other, others are told why not', async () => {
  const company = new Company();
  const ann = company.add('Ann', secret);
  const bob = company.add('Bob', secret);
  const eve = company.add('Eve', random(32));
  const dan = company.add('Dan', null);
  await company.run(1);
  assert.equal(ann.state('Bob'), 'sealed');
  assert.equal(bob.state('Ann'), 'sealed');
  assert.equal(ann.introduction('Bob').name, 'Bob');
  assert.match(ann.verification('Bob'), /^\d{4} \d{4}$/);
  assert.equal(ann.verification('Bob'), bob.verification('Ann'));
  assert.equal(ann.state('Eve'), 'wrong-passphrase');
  assert.equal(eve.state('Ann'), 'wrong-passphrase');
  assert.equal(ann.state('Dan'), 'they-have-no-passphrase');
  assert.equal(dan.state('Ann'), 'we-have-no-passphrase');
  const sealed = await ann.sealMedia(utf8('to all'));
  assert.equal(text(await bob.openMedia('Ann', sealed)), 'to all');
  await assert.rejects(bob.openMedia('Ann', sealed), SealError, 'a second time');
  await assert.rejects(eve.openMedia('Ann', sealed), SealError);
  const one = await ann.sealMediaFor('Bob', utf8('to one'));
  assert.equal(text(await bob.openMedia('Ann', one)), 'to one');
  const signal = await ann.sealSignal('Bob', { status: { muted: true } });
  assert.ok(!JSON.stringify(signal).includes('muted'));
  assert.deepEqual(await bob.hear('Ann', signal), [{ status: { muted: true } }]);
  assert.deepEqual(await bob.hear('Ann', signal), [], 'a second time');
  assert.deepEqual(await bob.hear('Ann', { status: { muted: false } }), [], 'nothing open is taken');
  await assert.rejects(ann.sealSignal('Eve', {}), SealError);
});

test('lost signals are said again, and nobody who answers nothing stops the others', async () => {
  const company = new Company();
  let count = 0;
  company.carry = (from, to, data) => (to === 'Mum' || ++count % 3 === 0 ? null : data);
  const [ann, bob] = [company.add('Ann', secret), company.add('Bob', secret)];
  company.people.set('Mum', { end: new EndToEnd({ secret: null, room: 'room', name: '', bitstream: '', send: () => undefined, onState: () => undefined, nowMs: () => 0 }), states: {} });
  ann.meet('Mum');
  await company.run(12);
  assert.equal(ann.state('Bob'), 'sealed');
  assert.equal(bob.state('Ann'), 'sealed');
  assert.equal(ann.state('Mum'), 'no-answer');
});

test('a relay that changes what is said keeps people apart, and they know', async () => {
  const company = new Company();
  company.carry = (from, to, data) => {
    for (const message of data.e2e) if (message.kind === 'hello') message.name = 'Alice';
    return data;
  };
  const [ann, bob] = [company.add('Ann', secret), company.add('Bob', secret)];
  await company.run(5);
  for (const [end, other] of [[ann, 'Bob'], [bob, 'Ann']]) {
    assert.equal(end.state(other), 'no-answer');
    assert.equal(end.introduction(other), null);
  }
});

test('who comes later cannot open what was said before, who has left what is said after', async () => {
  const company = new Company();
  const [ann, bob] = [company.add('Ann', secret), company.add('Bob', secret)];
  await company.run(1);
  const before = await ann.sealMedia(utf8('before'));
  const eve = company.add('Eve', secret);
  await company.run(1);
  assert.equal(eve.state('Ann'), 'sealed');
  await assert.rejects(eve.openMedia('Ann', before), SealError);
  const during = await ann.sealMedia(utf8('during'));
  for (const end of [bob, eve]) assert.equal(text(await end.openMedia('Ann', during)), 'during');
  company.leave('Eve');
  await company.run(12);
  const after = await ann.sealMedia(utf8('after'));
  assert.equal(text(await bob.openMedia('Ann', after)), 'after');
  await assert.rejects(eve.openMedia('Ann', after), SealError);
});

test('who reloads has another endpoint and agrees anew; an older version is told', async () => {
  const company = new Company();
  const ann = company.add('Ann', secret);
  company.add('Bob', secret, 'seat');
  await company.run(1);
  const first = ann.introduction('seat').endpoint;
  company.people.delete('seat');
  company.add('Bob again', secret, 'seat');
  await company.run(2);
  assert.equal(ann.state('seat'), 'sealed');
  assert.equal(ann.introduction('seat').name, 'Bob again');
  assert.notDeepEqual(ann.introduction('seat').endpoint, first);
  ann.meet('old');
  await ann.hear('old', { e2e: [{ ...new Introduction({}).toMessage(), version: 1 }] });
  assert.equal(ann.state('old'), 'other-version');
});

test('nonsense is refused and changes nothing', async () => {
  const company = new Company();
  const [ann, bob] = [company.add('Ann', secret), company.add('Bob', secret)];
  await company.run(1);
  const hello = new Introduction({}).toMessage();
  const nonsense = [
    {}, { e2e: 5 }, { e2e: new Array(9).fill(hello) }, { e2e: [null, 5, 'x', {}] }, { e2e: [{ kind: 'sealed' }] },
    { e2e: [{ kind: 'sealed', value: 'AAAA' }] }, { e2e: [{ kind: 'commit', run: 'x', value: '' }] },
    ...[['endpoint', 'AAAA'], ['nonce', '?'], ['name', 'a\nb'], ['name', 'x'.repeat(65)], ['name', '\ud800'], ['name', 5], ['bitstream', []]]
      .map(([key, value]) => ({ e2e: [{ ...hello, [key]: value }] })),
  ];
  const before = ann.refused;
  for (const data of nonsense) assert.deepEqual(await ann.hear('Bob', data), []);
  assert.ok(ann.refused - before >= nonsense.length);
  assert.deepEqual(await ann.hear('nobody', { e2e: [hello] }), []);
  await company.run(1);
  assert.equal(text(await bob.openMedia('Ann', await ann.sealMedia(utf8('still')))), 'still');
  assert.equal(toText(utf8('still')), 'c3RpbGw=');
});
