/** A plain ZIP writer for samples and tests: all in memory, no ZIP64, names in UTF-8. */
import { deflateRawSync } from "node:zlib";

export interface ZipFile {
  readonly name: string;
  readonly data: Buffer | string;
  /** Kept as it is instead of deflated. */
  readonly store?: boolean;
}

const UTF8_NAMES = 0x0800;
const DOS_DATE_1980 = 0x0021;
const REGULAR_FILE = 0o100644;

/** The bytes of an archive with these files in this order. */
export function zip(files: readonly ZipFile[]): Buffer {
  const locals: Buffer[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  for (const file of files) {
    const name = Buffer.from(file.name);
    const data = Buffer.from(file.data);
    const body = file.store === true ? data : deflateRawSync(data);

    // The 26 bytes that the header in front of the file and its entry in the directory have in common.
    const common = Buffer.alloc(26);
    common.writeUInt16LE(20, 0); // version needed
    common.writeUInt16LE(UTF8_NAMES, 2);
    common.writeUInt16LE(file.store === true ? 0 : 8, 4);
    common.writeUInt16LE(DOS_DATE_1980, 8);
    common.writeUInt32LE(crc32(data), 10);
    common.writeUInt32LE(body.length, 14);
    common.writeUInt32LE(data.length, 18);
    common.writeUInt16LE(name.length, 22);

    const local = Buffer.concat([Buffer.from("PK\x03\x04", "latin1"), common, name, body]);
    const tail = Buffer.alloc(14);
    tail.writeUInt32LE(REGULAR_FILE * 0x10000, 6);
    tail.writeUInt32LE(offset, 10);
    const madeBy = Buffer.from([20, 3]); // version 2.0, Unix
    directory.push(Buffer.concat([Buffer.from("PK\x01\x02", "latin1"), madeBy, common, tail, name]));
    locals.push(local);
    offset += local.length;
  }
  const entries = Buffer.concat(directory);
  const end = Buffer.alloc(22);
  end.write("PK\x05\x06", 0, "latin1");
  end.writeUInt16LE(files.length, 8);
  end.writeUInt16LE(files.length, 10);
  end.writeUInt32LE(entries.length, 12);
  end.writeUInt32LE(offset, 16);
  return Buffer.concat([...locals, entries, end]);
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n;
  for (let bit = 0; bit < 8; bit += 1) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
  return c >>> 0;
});

/** Node's own zlib.crc32 is younger than the oldest Node we run on. */
function crc32(data: Buffer): number {
  let crc = 0xffffffff;
  for (const byte of data) crc = (CRC_TABLE[(crc ^ byte) & 0xff] ?? 0) ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}
