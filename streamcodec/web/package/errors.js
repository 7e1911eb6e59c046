/** Bytes that are no packet, or fields that fit into none. */
export class PacketError extends Error {
  name = 'PacketError';
}

/** Settings or sound that do not fit. */
export class AudioFormatError extends Error {
  name = 'AudioFormatError';
}

/** The codec's files cannot be had, are not what they should be, or this browser cannot run them. */
export class LoadError extends Error {
  name = 'LoadError';
}

/** A call cannot begin or go on; the message is a sentence for people. */
export class CallError extends Error {
  name = 'CallError';
}

/** Bytes that are no `.sc` file, or one that is not decoded here. */
export class FileError extends Error {
  name = 'FileError';
}

/** Something sealed that cannot be opened: a foreign key, damage, a replay, another version. */
export class SealError extends Error {
  name = 'SealError';
}

/** A payload of a waveform tier that cannot be decoded: damaged, out of its order, or waiting for a key block. */
export class DamagedPayload extends Error {
  name = 'DamagedPayload';
}
