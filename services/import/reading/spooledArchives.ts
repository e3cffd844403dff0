/** Archives inside archives, kept as files beside their upload until its import is over. */
import type { BlobReader, DerivedFiles } from "../../storage/BlobStore.js";
import { UnavailableError } from "../../../utils/errors.js";
import { byCrc32, type Proofs } from "./proof.js";
import type { NestedArchives } from "./upload.js";

/**
 * `key` is that of the upload. A kept file is used again once its checksum is proved; a wrong one is made anew, after
 * `makeRoom` for it.
 */
export function spooledArchives(
  files: DerivedFiles,
  key: string,
  proofs: Proofs,
  makeRoom: (bytes: number) => Promise<void>,
): NestedArchives {
  return {
    async open(number, { sizeBytes, crc32 }, unpack, signal): Promise<BlobReader> {
      const name = String(number);
      const proofName = `${key}/${name}`;
      // Nobody's fault but storage's, and mended by making the file again.
      const wrong = (): Error =>
        new UnavailableError("storage_unavailable", "A file made out of an upload has changed");
      const prove = byCrc32(sizeBytes, crc32 ?? 0);
      const use = async (reader: BlobReader): Promise<BlobReader | null> => {
        try {
          const right = await proofs.proved(proofName, reader, prove, wrong, signal);
          if (right === null) await reader.close();
          return right;
        } catch (error) {
          await reader.close();
          throw error;
        }
      };
      const kept = crc32 === null ? null : await files.openDerived(key, name);
      const right = kept === null ? null : await use(kept);
      if (right !== null) return right;
      await makeRoom(sizeBytes);
      const made = await files.putDerived(key, name, unpack(), { maxBytes: sizeBytes, signal });
      // Size and checksum were proved while it was written.
      proofs.accept(proofName, await made.version());
      const mine = await use(made);
      if (mine === null) throw wrong();
      return mine;
    },
  };
}
