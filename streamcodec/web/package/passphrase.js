// Passphrases: made, and turned into the secret of a room. As `streamcodec/net/e2e/passphrase.py`.

import { CallError } from './errors.js';
import { random, utf8 } from './octets.js';
import { scrypt } from './scrypt.js';

const KEY_BYTES = 32;
const SCRYPT_COST = 1 << 15;
const LONGEST_CHARACTERS = 1_024;
/** Without those that look alike. */
const LETTERS = 'abcdefghijkmnpqrstuvwxyz23456789';
const GROUPS = 4;
const GROUP_LETTERS = 4;

/** Letters drawn at random, five bits each: 80 bits, in groups to be read out. */
export function newPassphrase() {
  const letters = Array.from(random(GROUPS * GROUP_LETTERS), (byte) => LETTERS[byte % LETTERS.length]);
  const groups = Array.from({ length: GROUPS }, (_, k) => letters.slice(GROUP_LETTERS * k, GROUP_LETTERS * (k + 1)));
  return groups.map((group) => group.join('')).join('-');
}

/**
 * What people who share a passphrase have in common in a room, by scrypt (RFC 7914). Letters are compared as RFC 8265
 * (OpaqueString) compares them. Throws CallError if it is empty or too long.
 * @param {string} passphrase
 * @param {string} room
 */
export async function roomKeyFromPassphrase(passphrase, room) {
  const length = [...passphrase].length;
  if (length < 1 || length > LONGEST_CHARACTERS) {
    throw new CallError(`A passphrase has 1 to ${LONGEST_CHARACTERS} characters, this one has ${length}.`);
  }
  const prepared = passphrase.replaceAll(/\p{Zs}/gu, ' ').normalize('NFC');
  return scrypt(utf8(prepared), utf8(`streamcodec end-to-end 2 ${room}`), SCRYPT_COST, 8, KEY_BYTES);
}
