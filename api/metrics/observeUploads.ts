import type { BlobStore } from "../../services/storage/BlobStore.js";
import { PayloadTooLargeError } from "../../utils/errors.js";
import type { ApiMetrics } from "./ApiMetrics.js";

/** The same store, with every `put` counted. */
export const observeUploads = (blobs: BlobStore, metrics: ApiMetrics): BlobStore => ({
  async put(source, options) {
    metrics.uploadBegan();
    try {
      const blob = await blobs.put(source, options);
      metrics.uploadEnded("stored", blob.sizeBytes);
      return blob;
    } catch (error) {
      metrics.uploadEnded(error instanceof PayloadTooLargeError ? "refused" : "failed");
      throw error;
    }
  },
  open: (key) => blobs.open(key),
  delete: (key) => blobs.delete(key),
  keysOlderThan: (ageMs) => blobs.keysOlderThan(ageMs),
  health: () => blobs.health(),
});
