export { Codec, readFrom } from './codec.js';
export { Decoder } from './decoder.js';
export { Encoder } from './encoder.js';
export { AudioFormatError, LoadError, PacketError } from './errors.js';
export { Flags, Packet, Tier } from './packet.js';
