export { Call } from './call.js';
export { Codec, readFrom } from './codec.js';
export { Decoder } from './decoder.js';
export { Encoder } from './encoder.js';
export { AudioFormatError, CallError, FileError, LoadError, PacketError } from './errors.js';
export { JitterBuffer } from './jitter_buffer.js';
export { Flags, Packet, Tier } from './packet.js';
export { Resampler } from './resampler.js';
export { SoundFile, playFile } from './sound_file.js';
