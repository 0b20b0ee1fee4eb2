// Reads one member of a zip archive that is held in memory (a release archive, a Python wheel). It is for archives
// whose checksum was verified before, and must never write a file: names inside an archive are not paths to trust.
import { crc32, inflateRawSync } from "node:zlib";

// Our own fifty lines and no library: what is read here is one of six pinned archives, so neither zip64 nor
// encryption nor streaming is needed, and a dependency would be one more thing to trust before the program runs.
const endSignature = 0x06054b50;
const entrySignature = 0x02014b50;
const localSignature = 0x04034b50;
const endBytes = 22;
const stored = 0;
const deflated = 8;

/** The content of the first member whose name is wanted; undefined when there is none. Throws on a damaged zip. */
export function readZipMember(zip: Buffer, isWanted: (name: string) => boolean): Buffer | undefined {
  const end = zip.lastIndexOf(Buffer.from([0x50, 0x4b, 0x05, 0x06]));
  if (end < 0 || end + endBytes > zip.length || zip.readUInt32LE(end) !== endSignature) {
    throw new Error("not a zip archive: it has no end record");
  }
  const members = zip.readUInt16LE(end + 10);
  let offset = zip.readUInt32LE(end + 16);
  for (let index = 0; index < members; index++) {
    if (offset + 46 > zip.length || zip.readUInt32LE(offset) !== entrySignature) {
      throw new Error("a damaged zip archive: an entry of its directory is missing");
    }
    const nameBytes = zip.readUInt16LE(offset + 28);
    const name = zip.toString("utf8", offset + 46, offset + 46 + nameBytes);
    if (isWanted(name)) return contentOf(zip, offset, name);
    offset += 46 + nameBytes + zip.readUInt16LE(offset + 30) + zip.readUInt16LE(offset + 32);
  }
  return undefined;
}

function contentOf(zip: Buffer, entry: number, name: string): Buffer {
  const method = zip.readUInt16LE(entry + 10);
  const checksum = zip.readUInt32LE(entry + 16);
  const packedBytes = zip.readUInt32LE(entry + 20);
  const bytes = zip.readUInt32LE(entry + 24);
  const local = zip.readUInt32LE(entry + 42);
  if (local + 30 > zip.length || zip.readUInt32LE(local) !== localSignature) {
    throw new Error(`a damaged zip archive: ${name} is not where its directory says`);
  }
  // The local header repeats the name, and its extra field may be longer than the directory's.
  const start = local + 30 + zip.readUInt16LE(local + 26) + zip.readUInt16LE(local + 28);
  const packed = zip.subarray(start, start + packedBytes);
  const content = unpack(packed, method, bytes, name);
  if (content.length !== bytes || crc32(content) !== checksum) {
    throw new Error(`a damaged zip archive: the content of ${name} does not match its checksum`);
  }
  return content;
}

function unpack(packed: Buffer, method: number, bytes: number, name: string): Buffer {
  if (method === stored) return packed;
  if (method === deflated) return inflateRawSync(packed, { maxOutputLength: Math.max(bytes, 1) });
  throw new Error(`${name} is packed in a way (${method}) that is not understood here`);
}
