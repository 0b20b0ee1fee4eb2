// Looks into a Windows program that was made elsewhere, whether it can be right.

const AMD64 = 0x8664;
const PE32_PLUS = 0x20b;
/** Folders of the header: places and sizes of what is in the program. */
const FOLDERS = 24 + 112;
const RESOURCES = 2;
const SIGNATURE = 4;
/** Type of a resource of raw bytes. */
const RAW = 10;
const ENTRY_BYTES = 8;

/** Null if it is a program for 64-bit Windows with such a resource, whose bytes are given; else words why not. */
export function resourceOf(exe: Buffer, name: string): { bytes: Buffer } | { objection: string } {
  const at = exe.length > 64 ? exe.readUInt32LE(60) : 0;
  if (exe.toString("latin1", 0, 2) !== "MZ" || exe.toString("latin1", at, at + 4) !== "PE\0\0")
    return { objection: "it is no Windows program" };
  if (exe.readUInt16LE(at + 4) !== AMD64 || exe.readUInt16LE(at + 24) !== PE32_PLUS)
    return { objection: "it is not for 64-bit x86 processors" };
  const sections = sectionsOf(exe, at);
  const offsetOf = (address: number): number | null => {
    const section = sections.find((one) => address >= one.address && address < one.address + one.bytes);
    return section === undefined ? null : address - section.address + section.offset;
  };
  const root = offsetOf(exe.readUInt32LE(at + FOLDERS + RESOURCES * ENTRY_BYTES));
  if (root === null) return { objection: "it has no resources" };
  const byType = entriesOf(exe, root, root).find(({ id }) => id === RAW);
  const named = byType && entriesOf(exe, root, byType.offset).find((entry) => entry.name === name);
  const leaf = named && entriesOf(exe, root, named.offset)[0];
  const start = leaf && offsetOf(exe.readUInt32LE(leaf.offset));
  if (leaf === undefined || start === undefined || start === null) return { objection: `it has no ${name}` };
  return { bytes: exe.subarray(start, start + exe.readUInt32LE(leaf.offset + 4)) };
}

/** Takes out, in place, the signature that no longer fits: a program without one can be signed, a broken one cannot. */
export function removeSignature(exe: Buffer): void {
  const entry = exe.readUInt32LE(60) + FOLDERS + SIGNATURE * ENTRY_BYTES;
  exe.fill(0, entry, entry + ENTRY_BYTES);
}

interface Section {
  address: number;
  offset: number;
  bytes: number;
}

function sectionsOf(exe: Buffer, at: number): Section[] {
  const first = at + 24 + exe.readUInt16LE(at + 20);
  return Array.from({ length: exe.readUInt16LE(at + 6) }, (_, index) => {
    const header = first + index * 40;
    return {
      bytes: exe.readUInt32LE(header + 16),
      address: exe.readUInt32LE(header + 12),
      offset: exe.readUInt32LE(header + 20),
    };
  });
}

/** Of one folder in the tree of resources: by a name or a number, and where what it leads to begins. */
function entriesOf(
  exe: Buffer,
  root: number,
  folder: number,
): { name?: string; id?: number; offset: number }[] {
  const count = exe.readUInt16LE(folder + 12) + exe.readUInt16LE(folder + 14);
  return Array.from({ length: count }, (_, index) => {
    const entry = folder + 16 + index * ENTRY_BYTES;
    const key = exe.readUInt32LE(entry);
    const offset = root + (exe.readUInt32LE(entry + 4) & 0x7fffffff);
    if (key < 0x80000000) return { id: key, offset };
    const text = root + (key & 0x7fffffff);
    return { name: exe.toString("utf16le", text + 2, text + 2 + exe.readUInt16LE(text) * 2), offset };
  });
}
