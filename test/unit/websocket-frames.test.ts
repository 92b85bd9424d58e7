import {
  createFrameReader,
  encodeCloseReason,
  encodeControlFrame,
  FrameError,
  opcodes,
} from '../../src/proxy/websocket/frames.ts';

const payloadOf = (length: number) => Buffer.from(Array.from({ length }, (_, n) => n % 251));

/** A data frame, masked with zeros, so that its payload is readable. */
function dataFrame(first: number, length: number, isMasked: boolean): Buffer {
  const bit = isMasked ? 0x80 : 0;
  const extended = Buffer.alloc(length < 126 ? 0 : length < 65_536 ? 2 : 8);
  if (extended.length === 2) extended.writeUInt16BE(length);
  if (extended.length === 8) extended.writeBigUInt64BE(BigInt(length));
  const short = [125, 0, 126, 0, 0, 0, 0, 0, 127][extended.length === 0 ? 0 : extended.length]!;
  const start = Buffer.from([first, bit | (extended.length === 0 ? length : short)]);
  return Buffer.concat([start, extended, Buffer.alloc(isMasked ? 4 : 0), payloadOf(length)]);
}

function readAll(chunks: readonly Buffer[], isMasked: boolean) {
  const data: Buffer[] = [];
  const controls: string[] = [];
  const reader = createFrameReader({
    isMasked,
    onData: (bytes) => data.push(Buffer.from(bytes)),
    onControl: (opcode, frame, payload) => {
      controls.push(`${opcode} ${payload}`);
      data.push(Buffer.from(frame));
    },
  });
  for (const each of chunks) reader.read(each);
  return { bytes: Buffer.concat(data), controls, isBetweenFrames: reader.isBetweenFrames() };
}

describe.each([true, false])('the frame reader (masked: %p)', (isMasked) => {
  const stream = Buffer.concat([
    dataFrame(0x81, 5, isMasked),
    encodeControlFrame(opcodes.ping, Buffer.from('are you there'), isMasked),
    dataFrame(0x02, 0, isMasked), // the first fragment is empty
    dataFrame(0x00, 126, isMasked),
    encodeControlFrame(opcodes.pong, Buffer.alloc(0), isMasked),
    dataFrame(0x80, 70_000, isMasked),
    encodeControlFrame(opcodes.close, encodeCloseReason(1000, 'bye'), isMasked),
  ]);

  test.each([1, 2, 3, 7, 64, 1_000, 100_000])(
    'passes every byte on unchanged and finds the control frames in chunks of %i bytes',
    (size) => {
      const chunks = Array.from({ length: Math.ceil(stream.length / size) }, (_, n) =>
        stream.subarray(n * size, (n + 1) * size),
      );
      const { bytes, controls, isBetweenFrames } = readAll(chunks, isMasked);
      expect(bytes.equals(stream)).toBe(true);
      expect(controls).toEqual(['9 are you there', '10 ', `8 ${encodeCloseReason(1000, 'bye')}`]);
      expect(isBetweenFrames).toBe(true);
    },
  );

  test('passes an incomplete frame on, and says that it is incomplete', () => {
    const part = dataFrame(0x82, 1_000, isMasked).subarray(0, 500);
    expect(readAll([part], isMasked)).toMatchObject({ bytes: part, isBetweenFrames: false });
  });

  test.each([
    ['frames of the other direction', dataFrame(0x82, 5, !isMasked)],
    ['reserved bits', dataFrame(0xc2, 5, isMasked)],
    ['a fragmented control frame', dataFrame(0x09, 5, isMasked)],
    ['a control frame of 126 bytes', dataFrame(0x89, 126, isMasked)],
  ])('refuses %s', (_what, bytes) => {
    expect(() => readAll([bytes], isMasked)).toThrow(FrameError);
  });
});
