// The relay's own page: one button to join, then who is here and how the line is.

import { Call } from './call.js';
import { newPassphrase } from './passphrase.js';
import { trouble } from './trouble.js';

const GRAPH_POINTS = 120;
const GRAPH_EVERY_MS = 500;
const LEAST_DBFS = -60;
const TREND_DELAY_MS = 500;
const TREND_LOSS = 0.2;
/** Loss and concealment are those of so many seconds. */
const COUNTED_S = 10;

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
const entry = find('entry', HTMLFormElement);
const room = find('room', HTMLInputElement);
const person = find('name', HTMLInputElement);
const passphrase = find('passphrase', HTMLInputElement);
const joinButton = find('join', HTMLButtonElement);
const section = find('call', HTMLElement);
const people = find('people', HTMLUListElement);
const mute = find('mute', HTMLButtonElement);
const talk = find('talk', HTMLButtonElement);
const push = find('push', HTMLInputElement);
const microphone = find('microphone', HTMLSelectElement);
const loudspeaker = find('loudspeaker', HTMLSelectElement);
const quality = find('quality', HTMLSelectElement);
const packet = find('packet', HTMLSelectElement);
const wire = find('wire', HTMLSelectElement);
const dtx = find('dtx', HTMLInputElement);
const trendHint = find('trend-hint', HTMLParagraphElement);
const figures = find('figures', HTMLElement);
const troubles = find('trouble', HTMLUListElement);
const graph = find('graph', HTMLCanvasElement);

/**
 * What the link says, behind `#`, which no browser sends to a server: `room=…&token=…&passphrase=…`, or the room alone.
 */
const link = location.hash.includes('=')
  ? new URLSearchParams(location.hash.slice(1))
  : new URLSearchParams({ room: decodeURIComponent(location.hash.slice(1)) });

/** @type {Call | null} */
let call = null;
/** @type {{up: number, down: number}[]} */
const history = [];
let drawnMs = 0;
/**
 * Of each person, by identity: delay and loss every half second, and the counts that the next ones are against.
 * @type {Map<string, {points: {delayMs: number, loss: number}[], lost: number, frames: number}>}
 */
const trends = new Map();
/** @type {{lost: number, recovered: number, concealed: number, played: number}[]} once a second */
const counted = [];
let countedMs = 0;

/** @param {string} sentence */
function say(sentence) {
  if (status.textContent !== sentence) status.textContent = sentence;
}

async function join() {
  joinButton.disabled = true;
  say('Loading the codec; the browser may ask whether this page may use the microphone.');
  const scheme = location.protocol === 'https:' ? 'wss:' : 'ws:';
  const joining = new Call({
    url: link.get('relay') ?? `${scheme}//${location.host}/`,
    room: room.value,
    name: person.value,
    token: link.get('token') ?? '',
    passphrase: passphrase.value,
    bitrate: Number(quality.value),
    packetMs: Number(packet.value),
    wireKbps: Number(wire.value),
    dtx: dtx.checked,
    transport: /** @type {any} */ (link.get('transport') ?? 'auto'),
    listen: link.get('listen') === '1',
    iceServers: link.getAll('stun').map((server) => ({ urls: `stun:${server}` })),
  });
  call = joining;
  // For whoever looks into it from the console.
  Object.assign(globalThis, { call });
  joining.addEventListener('state', (event) => show(/** @type {CustomEvent} */ (event).detail));
  joining.addEventListener('lost', (event) => {
    const { failure } = /** @type {CustomEvent} */ (event).detail;
    // While joining, join itself says why it came to nothing.
    if (failure && !section.hidden) void end(`The relay refused: ${failure.reason}.`);
    else if (!failure) say('The line to the relay is down: trying again.');
  });
  try {
    await joining.join();
  } catch (error) {
    await end(error instanceof Error ? error.message : String(error));
    return;
  }
  remember();
  document.title = find('title', HTMLElement).textContent = `Call: ${room.value}`;
  entry.hidden = true;
  section.hidden = false;
  setMuted(push.checked);
  mute.focus();
  await listDevices();
}

/** @param {string} sentence */
async function end(sentence) {
  const ending = call;
  call = null;
  history.length = counted.length = 0;
  trends.clear();
  drawnMs = countedMs = 0;
  await ending?.leave();
  entry.hidden = false;
  section.hidden = true;
  joinButton.disabled = false;
  joinButton.focus();
  say(sentence);
}

function remember() {
  try {
    localStorage.setItem('name', person.value);
  } catch {
    // Without storage the name is asked for again.
  }
}

// -- what is shown

/** @param {Record<string, any>} state */
function show(state) {
  if (!call) return;
  const others = state.peers.length + state.strangers.length;
  if (!state.connected) say('The line to the relay is down: trying again.');
  else if (call.microphoneTrouble) say(`You hear the others and they do not hear you. ${call.microphoneTrouble}`);
  else if (others === 0) say('You are in the room, and nobody else is yet: send them the address of this page.');
  else {
    const sealed = state.sealed ? ' Sound is encrypted from end to end.' : '';
    say(`You are in the room with ${others} ${others === 1 ? 'other' : 'others'}.${sealed}`);
  }
  showPeople(state);
  showFigures(state);
  const lines = trouble(state, { muted: call.muted, microphone: call.microphoneTrouble });
  fill(troubles, lines, (item, line) => (item.textContent = line));
  if (state.nowMs - drawnMs >= GRAPH_EVERY_MS) {
    drawnMs = state.nowMs;
    history.push({ up: state.sentKbps, down: state.receivedKbps });
    if (history.length > GRAPH_POINTS) history.shift();
    draw();
    noteTrends(state.peers);
  }
}

/**
 * As many items in a list as there is to show, each made over in place so that focus and screen readers stay calm.
 * @template T
 * @param {HTMLElement} list
 * @param {T[]} values
 * @param {(item: HTMLElement, value: T) => void} put
 */
function fill(list, values, put) {
  while (list.children.length > values.length) list.lastElementChild?.remove();
  values.forEach((value, k) => {
    const item = list.children[k] ?? list.appendChild(document.createElement('li'));
    put(/** @type {HTMLElement} */ (item), value);
  });
}

/** @param {Record<string, any>} state */
function showPeople(state) {
  const us = {
    name: `${person.value || 'You'} (you)`, level: state.levelRms, talking: state.talking,
    note: call?.muted ? 'muted' : `${(state.bitrate / 1_000).toFixed(1)} kbps${copiesOf(state.copies)}`,
  };
  const them = state.peers.map((/** @type {any} */ peer) => ({
    name: peer.name || 'somebody', level: peer.stats?.levelRms ?? 0, talking: peer.stats?.talking ?? false,
    note: noteOf(peer), identity: peer.identity,
  }));
  trendHint.hidden = them.length === 0;
  const strangers = state.strangers.map((/** @type {any} */ { name, seal }) => ({
    name: name || 'somebody', level: 0, talking: false,
    note: seal === 'agreeing' ? 'agreeing on keys' : 'not heard: see below',
  }));
  fill(people, [us, ...them, ...strangers], (item, { name, level, talking, note, identity = '' }) => {
    if (item.childElementCount === 0) {
      const spans = ['name', 'level', 'path'].map((kind) => {
        const made = document.createElement(kind === 'level' ? 'meter' : 'span');
        made.className = kind;
        return made;
      });
      const trend = document.createElement('canvas');
      trend.className = 'trend';
      trend.setAttribute('role', 'img');
      item.append(...spans, trend);
    }
    const [label, bar, path, trend] = /** @type {any} */ (item.children);
    trend.hidden = !identity;
    trend.dataset.identity = identity;
    label.textContent = name;
    bar.setAttribute('aria-label', `Level of ${name}`);
    bar.min = 0;
    bar.max = 1;
    bar.value = Math.max(0, 1 - (20 * Math.log10(level + 1e-9)) / LEAST_DBFS);
    path.textContent = `${talking ? 'talking, ' : ''}${note}`;
  });
}

/** @param {number} copies */
function copiesOf(copies) {
  return copies === 0 ? '' : `, ${copies} ${copies === 1 ? 'copy' : 'copies'} of earlier sound in each packet`;
}

/** @param {any} peer */
function noteOf(peer) {
  const ways = { direct: 'direct line', relay: 'by way of the relay', none: 'out of reach' };
  const trip = peer.roundTripMs === null ? '' : `, round trip ${Math.round(peer.roundTripMs)} ms`;
  const muted = peer.status.muted ? 'muted, ' : '';
  const digits = peer.verification ? `, digits ${peer.verification}` : '';
  return `${muted}${ways[/** @type {'direct' | 'relay' | 'none'} */ (peer.path)]}${trip}${digits}`;
}

/** @param {Record<string, any>} state */
function showFigures(state) {
  const heard = state.peers.map((/** @type {any} */ peer) => peer.stats).filter(Boolean);
  const sum = (/** @type {string} */ key) => heard.reduce((/** @type {number} */ all, /** @type {any} */ s) => all + s[key], 0);
  const now = { lost: sum('lost'), recovered: sum('recovered'), concealed: sum('concealed'), played: sum('played') };
  if (state.nowMs - countedMs >= 1_000) {
    countedMs = state.nowMs;
    counted.push(now);
    if (counted.length > COUNTED_S) counted.shift();
  }
  // Whoever leaves takes their counts along.
  const lately = (/** @type {keyof typeof now} */ key) => Math.max(0, now[key] - (counted[0] ?? now)[key]);
  const all = lately('played') + lately('recovered') + lately('concealed');
  const share = (/** @type {keyof typeof now} */ key) => `${(all ? (100 * lately(key)) / all : 0).toFixed(1)} %`;
  const depth = Math.max(0, ...heard.map((/** @type {any} */ stats) => stats.depthMs));
  const rows = [
    ['Up', `${state.sentKbps.toFixed(1)} kbps`],
    ['Down', `${state.receivedKbps.toFixed(1)} kbps`],
    ['Jitter buffer', `${Math.round(depth)} ms`],
    ['Lost', share('lost')],
    ['Recovered', share('recovered')],
    ['Concealed', share('concealed')],
    ['Packets', state.plan ? `${state.plan.packetMs} ms` : `${packet.value} ms`],
    ['Processor', `${(100 * state.cpuShare).toFixed(0)} %`],
  ];
  if (figures.childElementCount === 0) {
    for (const [name] of rows) {
      const row = figures.appendChild(document.createElement('div'));
      row.appendChild(document.createElement('dt')).textContent = name;
      row.appendChild(document.createElement('dd'));
    }
  }
  rows.forEach(([, value], k) => (figures.children[k].children[1].textContent = value));
}

/** @param {any[]} peers */
function noteTrends(peers) {
  for (const identity of trends.keys()) if (!peers.some((peer) => peer.identity === identity)) trends.delete(identity);
  for (const { identity, stats, roundTripMs } of peers) {
    if (!stats) continue;
    const frames = stats.received + stats.lost;
    /** @type {{points: {delayMs: number, loss: number}[], lost: number, frames: number}} */
    const trend = trends.get(identity) ?? { points: [], lost: stats.lost, frames };
    const lost = Math.max(0, stats.lost - trend.lost);
    const loss = lost / Math.max(1, frames - trend.frames);
    // From their encoder to our loudspeaker: half the way there and back, and what the jitter buffer holds.
    trend.points.push({ delayMs: stats.depthMs + (roundTripMs ?? 0) / 2, loss: Math.min(1, loss) });
    if (trend.points.length > GRAPH_POINTS) trend.points.shift();
    trends.set(identity, { points: trend.points, lost: stats.lost, frames });
  }
  for (const canvas of /** @type {NodeListOf<HTMLCanvasElement>} */ (people.querySelectorAll('canvas.trend'))) {
    const points = trends.get(canvas.dataset.identity ?? '')?.points;
    if (points) drawTrend(canvas, points);
  }
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {{delayMs: number, loss: number}[]} points
 */
function drawTrend(canvas, points) {
  const surface = prepared(canvas);
  if (!surface) return;
  const { context, width, height, style } = surface;
  const step = width / (GRAPH_POINTS - 1);
  const at = (/** @type {number} */ k) => (GRAPH_POINTS - points.length + k) * step;
  context.fillStyle = style.getPropertyValue('--warn');
  points.forEach(({ loss }, k) => {
    const size = (Math.min(loss, TREND_LOSS) / TREND_LOSS) * height;
    context.fillRect(at(k) - step / 2, height - size, Math.max(1, step - 1), size);
  });
  context.strokeStyle = style.getPropertyValue('--accent');
  context.lineWidth = 2;
  context.beginPath();
  points.forEach(({ delayMs }, k) => {
    context.lineTo(at(k), height - 1 - (Math.min(delayMs, TREND_DELAY_MS) / TREND_DELAY_MS) * (height - 2));
  });
  context.stroke();
  const last = points[points.length - 1];
  const recent = points.slice(-10);
  const loss = recent.reduce((sum, point) => sum + point.loss, 0) / recent.length;
  const words = `Delay ${Math.round(last.delayMs)} ms, ${(100 * loss).toFixed(1)} % lost in the last seconds`;
  canvas.setAttribute('aria-label', words);
  canvas.title = words;
}

/**
 * A canvas as sharp as the screen, emptied.
 * @param {HTMLCanvasElement} canvas
 */
function prepared(canvas) {
  const context = canvas.getContext('2d');
  if (!context) return null;
  const scale = devicePixelRatio;
  const { clientWidth: width, clientHeight: height } = canvas;
  canvas.width = width * scale;
  canvas.height = height * scale;
  context.scale(scale, scale);
  return { context, width, height, style: getComputedStyle(document.documentElement) };
}

function draw() {
  const surface = prepared(graph);
  if (!surface) return;
  const { context, width, height, style } = surface;
  const most = Math.max(40, ...history.map(({ up, down }) => Math.max(up, down)));
  context.font = '14px system-ui, sans-serif';
  const curves = /** @type {const} */ ([['up', '--accent', []], ['down', '--text', [6, 4]]]);
  curves.forEach(([key, colour, dash], which) => {
    context.strokeStyle = context.fillStyle = style.getPropertyValue(colour);
    context.setLineDash([...dash]);
    context.lineWidth = 2;
    context.beginPath();
    history.forEach((point, k) => {
      const x = ((GRAPH_POINTS - history.length + k) / (GRAPH_POINTS - 1)) * width;
      context.lineTo(x, height - 4 - (point[key] / most) * (height - 8));
    });
    context.stroke();
    const shown = history.at(-1)?.[key] ?? 0;
    context.fillText(`${key} ${shown.toFixed(0)} kbps`, 8, 20 + 20 * which);
  });
}

// -- controls

/** @param {boolean} muted */
function setMuted(muted) {
  if (!call) return;
  call.muted = muted;
  mute.setAttribute('aria-pressed', String(muted));
  mute.textContent = muted ? 'Muted' : 'Mute';
}

function followPush() {
  talk.hidden = !push.checked;
  mute.hidden = push.checked;
  setMuted(push.checked);
}

/** @param {boolean} held */
function hold(held) {
  if (!push.checked || !call) return;
  talk.setAttribute('aria-pressed', String(held));
  setMuted(!held);
}

async function listDevices() {
  const devices = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
  const lists = /** @type {const} */ ([[microphone, 'audioinput'], [loudspeaker, 'audiooutput']]);
  for (const [list, kind] of lists) {
    const found = devices.filter((device) => device.kind === kind && device.deviceId);
    const chosen = list.value;
    list.replaceChildren(...found.map(({ label, deviceId }, k) => new Option(label || `Device ${k + 1}`, deviceId)));
    list.value = found.some(({ deviceId }) => deviceId === chosen) ? chosen : (found[0]?.deviceId ?? '');
    list.disabled = found.length === 0 || (kind === 'audiooutput' && !('setSinkId' in AudioContext.prototype));
  }
}

/** @param {SubmitEvent} event */
entry.onsubmit = (event) => {
  event.preventDefault();
  void join();
};
find('draw', HTMLButtonElement).onclick = () => {
  passphrase.type = 'text';
  passphrase.value = newPassphrase();
  passphrase.select();
};
mute.onclick = () => setMuted(!call?.muted);
find('leave', HTMLButtonElement).onclick = () => void end('You have left the room.');
push.onchange = followPush;
talk.onpointerdown = () => hold(true);
talk.onpointerup = talk.onpointercancel = talk.onpointerleave = () => hold(false);
document.onkeydown = (event) => {
  if (event.code !== 'Space' || !push.checked || !call || event.target instanceof HTMLSelectElement) return;
  if (event.target === push || event.target instanceof HTMLInputElement) return;
  event.preventDefault();
  if (!event.repeat) hold(true);
};
document.onkeyup = (event) => {
  if (event.code === 'Space') hold(false);
};
microphone.onchange = () => void call?.setMicrophone(microphone.value);
loudspeaker.onchange = () => void call?.setLoudspeaker(loudspeaker.value);
quality.onchange = () => call?.change({ bitrate: Number(quality.value) });
wire.onchange = () => {
  // What is chosen for the rate on the wire cannot be chosen by hand as well.
  quality.disabled = packet.disabled = wire.value !== '0';
  call?.change({ wireKbps: Number(wire.value) });
};
dtx.onchange = () => call?.change({ dtx: dtx.checked });
packet.onchange = () => call?.change({ packetMs: Number(packet.value) });
if (navigator.mediaDevices) navigator.mediaDevices.ondevicechange = () => void listDevices();
addEventListener('pagehide', () => {
  if (call) void end('You have left the room.');
});

room.value = link.get('room') ?? '';
passphrase.value = link.get('passphrase') ?? '';
const wanted = link.get('wire') ?? '';
if ([...wire.options].some(({ value }) => value === wanted)) wire.value = wanted;
quality.disabled = packet.disabled = wire.value !== '0';
dtx.checked = link.get('dtx') === '1';
try {
  person.value = link.get('name') ?? localStorage.getItem('name') ?? '';
} catch {
  person.value = '';
}
say(room.value ? `Ready to join ${room.value}.` : 'Give the room a name; whoever joins the same room hears you.');
