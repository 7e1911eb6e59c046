// Why somebody cannot be heard, in words; as `streamcodec/net/trouble.py` says them.

/**
 * What is wrong, most serious first; a sentence that all is well where nothing is.
 * @param {Record<string, any>} state of a call
 * @param {{muted: boolean, microphone: string}} own
 * @returns {string[]}
 */
export function trouble(state, { muted, microphone }) {
  const found = [];
  if (!state.connected) found.push('The relay cannot be reached: this page tries again every few seconds.');
  if (state.peers.length + state.strangers.length === 0) found.push('Nobody else is in the room.');
  for (const { name, seal } of state.strangers) found.push(...ofSeal(name, seal));
  for (const peer of state.peers) found.push(...ofPeer(peer));
  if (microphone) found.push(`Nobody hears you. ${microphone}`);
  else if (muted) found.push('Nobody hears you: you are muted.');
  else if (state.silentMicrophone) {
    found.push('Nobody hears you: your microphone gives nothing but silence. Choose another, or switch it on.');
  }
  return found.length ? found : ['Everybody here can be heard, as far as this page can tell.'];
}

/** @param {any} peer */
function ofPeer(peer) {
  const who = peer.name || 'Somebody';
  const sealing = ofSeal(peer.name, peer.seal);
  if (sealing.length) return sealing;
  if (!peer.understood) {
    return [`${who} cannot be heard: what comes is ${peer.bitstream}, of another version of streamcodec or another model.`];
  }
  const found = [];
  const { status, stats } = peer;
  if (status.foreign) found.push(`${who} cannot hear you: what this page sends is of another version or model there.`);
  if (stats?.foreign) found.push(`${who} cannot be heard: what comes is of a rate or kind that browsers do not decode.`);
  if (status.muted) found.push(`${who} is muted.`);
  else if (status.silent_microphone) found.push(`${who} has a microphone that gives nothing but silence.`);
  else if (!peer.speaks) found.push(`${who} only listens.`);
  else if (stats && stats.received === 0) found.push(`Nothing has come from ${who} yet.`);
  if (!peer.hears) found.push(`${who} does not hear the others.`);
  if (peer.path === 'none') found.push(`${who} is out of reach at the moment.`);
  return found;
}

/**
 * How the encryption keeps two people apart, if it does; as `streamcodec/net/e2e/states.py`.
 * @param {string} name
 * @param {import('./end_to_end.js').SealState} seal
 */
function ofSeal(name, seal) {
  const who = name || 'Somebody';
  const apart = 'so neither of you hears the other';
  const sentences = {
    none: '', agreeing: '', sealed: '',
    'wrong-passphrase': `${who} has another passphrase, ${apart}: compare the passphrases and the room's name.`,
    'they-have-no-passphrase': `${who} came without a passphrase, ${apart}: they need the passphrase of this call.`,
    'we-have-no-passphrase':
      `${who} speaks encrypted and you have no passphrase, ${apart}: leave, and join again with the passphrase of this call.`,
    'other-version': `${who} encrypts in another version, ${apart}: use the same version of streamcodec on both sides.`,
    'no-answer':
      `${who} does not answer to the exchange of keys, ${apart}: an older streamcodec there, or a relay that keeps it back.`,
  };
  return sentences[seal] ? [sentences[seal]] : [];
}
