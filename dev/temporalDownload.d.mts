/** What TypeScript code uses of temporalDownload.mjs; see there. */
export function downloadTemporal(folder: string): Promise<void>;
