/** Bounds of what is read from an upload; the settings of the same names. */
export interface ReadLimits {
  /** Unpacked size of one file. */
  readonly entryMaxBytes: number;
  /** Unpacked size of all files of an archive together. */
  readonly unpackedMaxBytes: number;
  /** Records in an archive's directory, folders and ignored files included. */
  readonly maxEntries: number;
  /** Unpacked by packed size, once the first MiB is out. */
  readonly maxRatio: number;
  /** ZIP files inside ZIP files are opened to this depth; 1: not at all. */
  readonly maxDepth: number;
  /** Raw size of one record. */
  readonly recordMaxBytes: number;
}
