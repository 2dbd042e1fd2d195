// What the two node programs share: commands as JSON lines, and the bodies of tests/support/client.py.
import crypto from 'node:crypto';
import readline from 'node:readline';

export const PIECE_BYTES = 50_000;  // neither a power of two nor the size of a buffer

// Every 4-byte word differs, so that a lost or doubled piece shows.
export function pattern(size) {
  const words = Buffer.alloc(Math.ceil(size / 4) * 4);
  for (let at = 0; at < words.length; at += 4) words.writeUInt32BE(at / 4, at);
  return words.subarray(0, size);
}

export function* pieces(data) {
  for (let at = 0; at < data.length; at += PIECE_BYTES) yield data.subarray(at, at + PIECE_BYTES);
}

export const digest = () => crypto.createHash('sha256');

// Raw fields [name, value, name, value ...] as pairs.
export function pairs(raw) {
  const found = [];
  for (let i = 0; i < raw.length; i += 2) found.push([raw[i].toLowerCase(), raw[i + 1]]);
  return found;
}

// Answers each line {id, op, ...} with {id, value} or {id, error}, in the order in which they are done.
export function obey(operations) {
  const lines = readline.createInterface({ input: process.stdin });
  lines.on('line', async (line) => {
    const { id, op, ...rest } = JSON.parse(line);
    let answer;
    try {
      answer = { id, value: (await operations[op](rest)) ?? null };
    } catch (error) {
      answer = { id, error: String(error.stack ?? error) };
    }
    process.stdout.write(JSON.stringify(answer) + '\n');
  });
  lines.on('close', () => process.exit(0));
}
