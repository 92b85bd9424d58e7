import { randomBytes } from 'node:crypto';

/** Control frames (RFC 6455 5.5). */
export const opcodes = { close: 0x8, ping: 0x9, pong: 0xa } as const;

const maxControlPayload = 125;
const firstControlOpcode = 0x8;

/** Bytes that are not a frame of this direction (RFC 6455 5.2). */
export class FrameError extends Error {
  override readonly name = 'FrameError';
}

interface FrameReaderOptions {
  /** Frames from a client are masked, those from a server are not. */
  readonly isMasked: boolean;
  /** A part of a frame with data, as it arrived. */
  readonly onData: (bytes: Buffer) => void;
  /** A complete control frame, as it arrived, and its payload without the mask. */
  readonly onControl: (opcode: number, frame: Buffer, payload: Buffer) => void;
}

export interface FrameReader {
  /** @throws FrameError */
  read(chunk: Buffer): void;
  /** True when all of what was passed to `onData` ends with a complete frame. */
  isBetweenFrames(): boolean;
}

interface FrameHeader {
  readonly opcode: number;
  readonly headerLength: number;
  readonly payloadLength: number;
}

const empty = Buffer.alloc(0);

/** Divides bytes into frames. It buffers headers and control frames only, so it needs no limit on the size of a message. */
export function createFrameReader({ isMasked, onData, onControl }: FrameReaderOptions): FrameReader {
  let incomplete = empty;
  let remaining = 0;

  return {
    read(chunk) {
      let rest = incomplete.length > 0 ? Buffer.concat([incomplete, chunk]) : chunk;
      incomplete = empty;
      while (rest.length > 0) {
        if (remaining === 0) {
          const header = parseHeader(rest, isMasked);
          const isControl = header !== undefined && header.opcode >= firstControlOpcode;
          const frameLength = header ? header.headerLength + header.payloadLength : 0;
          if (!header || (isControl && rest.length < frameLength)) {
            incomplete = Buffer.from(rest); // a copy, as the rest may be a small part of a large chunk
            return;
          }
          if (isControl) {
            const frame = rest.subarray(0, frameLength);
            onControl(header.opcode, frame, readPayload(frame, header, isMasked));
            rest = rest.subarray(frameLength);
            continue;
          }
          remaining = frameLength;
        }
        const part = rest.subarray(0, remaining);
        remaining -= part.length;
        rest = rest.subarray(part.length);
        onData(part);
      }
    },
    isBetweenFrames: () => remaining === 0,
  };
}

function parseHeader(bytes: Buffer, isMasked: boolean): FrameHeader | undefined {
  if (bytes.length < 2) return undefined;
  const [first, second] = [bytes[0]!, bytes[1]!];
  const opcode = first & 0x0f;
  const shortLength = second & 0x7f;
  if ((first & 0x70) !== 0) throw new FrameError('reserved bits without an extension');
  if (second >= 0x80 !== isMasked) throw new FrameError(isMasked ? 'frame without mask' : 'masked frame');
  if (opcode >= firstControlOpcode && (first < 0x80 || shortLength > maxControlPayload))
    throw new FrameError('fragmented or long control frame');
  const extendedLength = shortLength === 127 ? 8 : shortLength === 126 ? 2 : 0;
  const headerLength = 2 + extendedLength + (isMasked ? 4 : 0);
  if (bytes.length < headerLength) return undefined;
  const payloadLength =
    extendedLength === 8
      ? Number(bytes.readBigUInt64BE(2))
      : extendedLength === 2
        ? bytes.readUInt16BE(2)
        : shortLength;
  if (payloadLength > Number.MAX_SAFE_INTEGER - headerLength) throw new FrameError('frame too long');
  return { opcode, headerLength, payloadLength };
}

function readPayload(frame: Buffer, { headerLength }: FrameHeader, isMasked: boolean): Buffer {
  const payload = Buffer.from(frame.subarray(headerLength));
  if (isMasked) applyMask(payload, frame.subarray(headerLength - 4, headerLength));
  return payload;
}

function applyMask(payload: Buffer, mask: Buffer): void {
  for (let i = 0; i < payload.length; i += 1) payload[i]! ^= mask[i % 4]!;
}

/** A control frame; its payload has at most 125 bytes. */
export function encodeControlFrame(opcode: number, content: Buffer, isMasked: boolean): Buffer {
  const payload = Buffer.from(content);
  const start = [0x80 | opcode, (isMasked ? 0x80 : 0) | payload.length];
  if (!isMasked) return Buffer.concat([Buffer.from(start), payload]);
  const mask = randomBytes(4);
  applyMask(payload, mask);
  return Buffer.concat([Buffer.from(start), mask, payload]);
}

/** The payload of a close frame (RFC 6455 5.5.1). */
export function encodeCloseReason(code: number, reason = ''): Buffer {
  const payload = Buffer.alloc(2);
  payload.writeUInt16BE(code);
  return Buffer.concat([payload, Buffer.from(reason)]);
}
